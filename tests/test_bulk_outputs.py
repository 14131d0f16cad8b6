"""The formats of a run's output."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bulk.location import Location
from tests.bulk_runs import embed, images_in, table_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images_in(tmp_path_factory.mktemp("bulk") / "in", 3)


def test_leftovers_of_killed_runs_are_swept_after_an_hour(tmp_path: Path) -> None:
    old, new = tmp_path / ".part-0.parquet.0123abcd", tmp_path / ".part-1.parquet.0123abcd"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    Location.of(str(tmp_path)).sweep()
    assert [path.name for path in tmp_path.iterdir()] == [new.name]


@pytest.fixture
def rows(folder: Path, tmp_path: Path) -> Iterator[Path]:
    """Four rows with texts and images, of which one fails."""
    names = ["000.png", "001.png", "missing.png", "002.png"]
    table = pa.table({"image": names, "text": ["a", "b", "c", "d"]})
    source = folder / "rows.parquet"
    pq.write_table(table, source)
    yield source
    source.unlink()


def test_npy_output_has_the_layout_of_clip_retrieval(rows: Path, tmp_path: Path) -> None:
    assert embed(rows, tmp_path, "--format", "npy", "--vector-type", "float16") == 3
    images = np.load(tmp_path / "img_emb" / "img_emb_0.npy")
    texts = np.load(tmp_path / "text_emb" / "text_emb_0.npy")
    metadata = pq.read_table(tmp_path / "metadata" / "metadata_0.parquet").to_pylist()
    assert images.dtype == texts.dtype == np.float16
    assert np.linalg.norm(images.astype(float), axis=1) == pytest.approx([1, 1, 0, 1], abs=2e-3)
    assert [row["error"] and row["error"]["code"] for row in metadata] == [
        None,
        None,
        "not_found",
        None,
    ]
    assert embed(rows, tmp_path, "--format", "npy", "--vector-type", "float16") == 3


def test_vertex_output_holds_only_what_can_be_imported(rows: Path, tmp_path: Path) -> None:
    options = ("--text-column", "text", "--image-column", "image", "--id-column", "image")
    assert embed(rows, tmp_path, "--format", "vertex", *options) == 3
    lines = [
        orjson.loads(line) for line in (tmp_path / "part-00000.json").read_bytes().splitlines()
    ]
    assert [line["id"] for line in lines] == [
        *(f"{name}.png#text" for name in ("000", "001", "missing", "002")),
        *(f"{name}.png#image" for name in ("000", "001", "002")),
    ]
    assert all(len(line["embedding"]) == 256 for line in lines)
    failures = (tmp_path / "_errors" / "part-00000.json").read_text().splitlines()
    assert json.loads(failures[1])["code"] == "not_found"


def test_int8_and_variable_lists(folder: Path, tmp_path: Path) -> None:
    assert embed(folder, tmp_path / "floats") == 0
    options = ("--vector-type", "int8", "--variable-lists", "--shard-rows", 2)
    assert embed(folder, tmp_path / "int8", *options) == 0
    found, whole = table_of(tmp_path / "int8"), table_of(tmp_path / "floats")
    assert found.schema.field("image_vector").type == pa.list_(pa.int8())
    ours, theirs = (
        np.array(table.column("image_vector").to_pylist(), float) for table in (found, whole)
    )
    cosines = (ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1)
    assert cosines.min() > 0.999
