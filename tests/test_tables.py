"""Large weights stand beside their graph; the runtime maps them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from common.files import sha256_of
from export import tables

ROWS = np.arange(600 * 16, dtype=np.int8).reshape(600, 16)
IDS = np.array([[0, 599], [7, 7]])


def graph_with_tables(path: Path) -> None:
    """Two tables and a matrix: the sum of the rows that the ids pick, times the matrix."""
    number, integer = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    constants: dict[str, np.ndarray[tuple[int, ...], np.dtype[Any]]] = {
        "rows": ROWS,
        "others": ROWS.astype(np.float32) * 2,
        "matrix": np.eye(16, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["rows", "ids"], ["picked"]),
        helper.make_node("Cast", ["picked"], ["numbers"], to=number),
        helper.make_node("Gather", ["others", "ids"], ["more"]),
        helper.make_node("Add", ["numbers", "more"], ["sum"]),
        helper.make_node("MatMul", ["sum", "matrix"], ["vectors"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tables",
        [helper.make_tensor_value_info("ids", integer, ["n", "length"])],
        [helper.make_tensor_value_info("vectors", number, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


def run(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    vectors: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = session.run(None, {"ids": IDS})[0]
    return vectors


def test_only_large_tables_leave_the_graph_and_vectors_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "text.int8.onnx"
    graph_with_tables(path)
    whole = run(path)
    tables.separate_weights(path)
    assert [file.name for file in tmp_path.iterdir()] == ["text.int8.onnx"]
    monkeypatch.setattr(tables, "TABLE_BYTES", ROWS.nbytes)
    tables.separate_weights(path)
    data = tmp_path / "text.int8.onnx.data"
    assert data.stat().st_size == 3 * tables.PAGE_BYTES + ROWS.nbytes * 4
    assert data.read_bytes()[: ROWS.nbytes] == ROWS.tobytes()
    np.testing.assert_array_equal(run(path), whole)
    before = sha256_of(path)
    monkeypatch.setattr(tables, "MATRIX_BYTES", 1024)
    tables.separate_weights(path)  # a second time changes nothing
    assert sha256_of(path) == before


def test_large_matrices_leave_the_graph_for_a_file_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "text.fp32.onnx"
    graph_with_tables(path)
    whole = run(path)
    monkeypatch.setattr(tables, "MATRIX_BYTES", 1024)
    tables.separate_weights(path)
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"text.fp32.onnx", "text.fp32.onnx.weights"}
    assert (tmp_path / "text.fp32.onnx.weights").read_bytes() == np.eye(16, dtype="f4").tobytes()
    np.testing.assert_array_equal(run(path), whole)
