"""Keep large vocabulary tables in a file of their own, which the runtime maps and never copies.

A text reads a few rows. So of SigLIP 2's table, 197 MB in int8, only the rows that texts use come
into memory.
"""

from pathlib import Path

import onnx
from onnx.external_data_helper import set_external_data

TABLE_BYTES = 20 << 20  # a smaller table stays in its graph
PAGE_BYTES = 4096  # each table starts at a page, as mapping wants it


def separate_tables(path: Path) -> None:
    """Move the large tables of a graph file into `<path>.data`.

    A graph whose weights are in a separate file already is left alone.
    """
    target = path.with_name(f"{path.name}.data")
    if target.exists():
        return
    model = onnx.load(path)
    gathered = {node.input[0] for node in model.graph.node if node.op_type == "Gather"}
    tables = [
        tensor
        for tensor in model.graph.initializer
        if tensor.name in gathered and len(tensor.raw_data) >= TABLE_BYTES
    ]
    if not tables:
        return
    with target.open("wb") as file:
        for tensor in tables:
            file.seek(-file.tell() % PAGE_BYTES, 1)
            set_external_data(tensor, target.name, file.tell(), len(tensor.raw_data))
            file.write(tensor.raw_data)
            tensor.ClearField("raw_data")
    onnx.save(model, path)
