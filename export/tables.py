"""Keep large weights in files beside their graph, which the runtime maps instead of copying.

A text reads a few rows of its vocabulary table. So of SigLIP 2's table, 197 MB in int8, only the
rows that texts use come into memory.
Matrices are packed for the CPU when a session starts. From a mapped file that takes half the time.
"""

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx.external_data_helper import set_external_data

from common.models.bundle import BESIDE, MATRICES, TABLES

TABLE_BYTES = 20 << 20  # a smaller table stays in its graph
MATRIX_BYTES = 1 << 18
PRODUCTS = ("MatMul", "MatMulIntegerToFloat", "Gemm")
PAGE_BYTES = 4096  # each tensor starts at a page, as mapping wants it


def separate_weights(path: Path) -> None:
    """Move the large tables of a graph file into `<path>.data`, and its matrices to another file.

    The two are apart because matrices are no longer needed once they are packed: a file that the
    platform keeps in memory can then go. A graph with a separate file already is left alone.
    """
    if any(path.with_name(path.name + suffix).exists() for suffix in BESIDE):
        return
    model = onnx.load(path)
    nodes = model.graph.node
    tables = {node.input[0] for node in nodes if node.op_type == "Gather"}
    matrices = {node.input[1] for node in nodes if node.op_type in PRODUCTS} - tables
    for suffix, names, least in ((TABLES, tables, TABLE_BYTES), (MATRICES, matrices, MATRIX_BYTES)):
        tensors = [
            tensor
            for tensor in model.graph.initializer
            if tensor.name in names and len(tensor.raw_data) >= least
        ]
        if tensors:
            _move(tensors, path.with_name(path.name + suffix))
            onnx.save(model, path)


def _move(tensors: Sequence[onnx.TensorProto], target: Path) -> None:
    with target.open("wb") as file:
        for tensor in tensors:
            file.seek(-file.tell() % PAGE_BYTES, 1)
            set_external_data(tensor, target.name, file.tell(), len(tensor.raw_data))
            file.write(tensor.raw_data)
            tensor.ClearField("raw_data")
