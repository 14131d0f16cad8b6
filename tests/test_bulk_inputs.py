"""Inputs of a bulk run: every kind gives the same vectors for the same content."""

import base64
import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bulk.inputs import open_input
from bulk.inputs.reader import Columns
from bulk.shards import Span
from common import ImageBytes, Text, open_embedder
from common.config import Settings
from export.emoji import picture_at
from tests.bulk_runs import embed, images_in, rows_of
from tests.image_server import ImageServer
from tests.waiting import wait_for

COUNT = 5
LOOPBACK_SETTINGS = Settings.from_env({"CLIP_FETCH_ALLOW_NETWORKS": "127.0.0.0/8"})
IMAGES = [picture_at(index) for index in range(COUNT)]
TEXTS = ["a fox", "a pizza", "two, with a comma", 'a "quote"\nand a line', "x" * 400]


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """What the library gives, as the function does."""
    with open_embedder("demo") as embedder:
        images = embedder.embed([ImageBytes(image) for image in IMAGES])
        texts = embedder.embed([Text(text) for text in TEXTS])
    return {"image_vector": images.vectors, "text_vector": texts.vectors}


def assert_same(output: Path, name: str, expected: dict[str, np.ndarray]) -> None:
    vectors = np.array([row[name] for row in rows_of(output)], np.float32)
    cosines = (vectors * expected[name]).sum(axis=1)
    assert cosines.min() >= 0.99999


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    return path


def test_a_folder_with_folders_inside(tmp_path: Path, expected: dict[str, np.ndarray]) -> None:
    folder = images_in(tmp_path / "in" / "deep", COUNT).parent
    assert embed(folder, tmp_path / "out") == 0
    assert_same(tmp_path / "out", "image_vector", expected)
    assert [row["path"] for row in rows_of(tmp_path / "out")] == [
        f"deep/{index:03}.png" for index in range(COUNT)
    ]


@pytest.mark.parametrize("kind", ["bytes", "struct", "data", "http", "relative"])
def test_parquet_with_images_of_every_form(
    tmp_path: Path,
    kind: str,
    image_server: ImageServer,
    monkeypatch: pytest.MonkeyPatch,
    expected: dict[str, np.ndarray],
) -> None:
    monkeypatch.setattr("bulk.options.get_settings", lambda: LOOPBACK_SETTINGS)
    folder = images_in(tmp_path / "in", COUNT)
    forms: dict[str, list[object]] = {
        "bytes": list(IMAGES),
        "struct": [{"bytes": image, "path": "x.png"} for image in IMAGES],
        "data": ["data:image/png;base64," + base64.b64encode(image).decode() for image in IMAGES],
        "http": [image_server.serve(f"/{at}.png", image) for at, image in enumerate(IMAGES)],
        "relative": [f"{index:03}.png" for index in range(COUNT)],
    }
    rows = [{"name": f"n{at}", "image": image} for at, image in enumerate(forms[kind])]
    source = write_rows(folder / "rows.parquet", rows)
    status = embed(source, tmp_path / "out", "--id-column", "name", "--shard-rows", 3)
    assert status == 0
    assert_same(tmp_path / "out", "image_vector", expected)
    assert [row["name"] for row in rows_of(tmp_path / "out")] == [f"n{at}" for at in range(COUNT)]


def test_texts_in_csv_json_lines_and_a_text_file(
    tmp_path: Path, expected: dict[str, np.ndarray]
) -> None:
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["id", "text"], *([at, text] for at, text in enumerate(TEXTS))])
    lines = [json.dumps({"id": at, "text": text}) for at, text in enumerate(TEXTS)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    for name in ("rows.csv", "rows.jsonl"):
        output = tmp_path / name.replace(".", "-")
        assert embed(tmp_path / name, output, "--keep", "id,text", "--shard-rows", 2) == 0
        assert_same(output, "text_vector", expected)
        rows = rows_of(output)
        assert [row["text"] for row in rows] == TEXTS
        assert [row["truncated"] for row in rows] == [False] * 4 + [True]
    (tmp_path / "lines.txt").write_text("a fox\n\na pizza\r\n")
    assert embed(tmp_path / "lines.txt", tmp_path / "lines") == 0
    found = np.array([row["text_vector"] for row in rows_of(tmp_path / "lines")])
    assert (found * expected["text_vector"][:2]).sum(axis=1).min() >= 0.99999


def test_a_text_file_of_urls_names_images(tmp_path: Path, expected: dict[str, np.ndarray]) -> None:
    urls = ["data:image/png;base64," + base64.b64encode(image).decode() for image in IMAGES]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    assert embed(tmp_path / "urls.txt", tmp_path / "out") == 0
    assert_same(tmp_path / "out", "image_vector", expected)


def test_a_webdataset_tar_has_a_row_for_each_key(
    tmp_path: Path, expected: dict[str, np.ndarray]
) -> None:
    with tarfile.open(tmp_path / "rows.tar", "w") as archive:
        for at, (image, text) in enumerate(zip(IMAGES, TEXTS, strict=True)):
            members = {"png": image, "txt": text.encode(), "json": b'{"license": "CC0"}'}
            for ending, data in members.items():
                member = tarfile.TarInfo(f"{at:05}.{ending}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    options = ("--id-column", "key", "--keep", "license", "--shard-rows", 2)
    assert embed(tmp_path / "rows.tar", tmp_path / "out", *options) == 0
    assert_same(tmp_path / "out", "image_vector", expected)
    assert_same(tmp_path / "out", "text_vector", expected)
    rows = rows_of(tmp_path / "out")
    assert {row["license"] for row in rows} == {"CC0"}
    assert [row["key"] for row in rows] == [f"{at:05}" for at in range(COUNT)]


def test_a_pattern_takes_files_of_one_kind_and_numbers_rows_through(tmp_path: Path) -> None:
    for name, texts in (("b.csv", "c\nd"), ("a.csv", "a\nb"), ("other.parquet", "")):
        (tmp_path / name).write_text(f"text\n{texts}\n")
    assert embed(tmp_path / "*.csv", tmp_path / "out", "--shard-rows", 3, "--keep", "text") == 0
    assert [(row["row"], row["text"]) for row in rows_of(tmp_path / "out")] == [
        (0, "a"),
        (1, "b"),
        (2, "c"),
        (3, "d"),
    ]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_files_are_open_only_while_they_are_read(tmp_path: Path, ending: str) -> None:
    """An input may have more files than a process may have open."""
    for index in range(5):
        path = tmp_path / f"{index}.{ending}"
        if ending == "csv":
            path.write_text("text\na\nb\n")
        else:
            write_rows(path, [{"text": "a"}, {"text": "b"}])
    _, reader = open_input(str(tmp_path), Columns())
    for file in range(5):
        assert reader.read([Span(file, 0, 2)], 2 * file).texts == ["a", "b"]
        # pyarrow's thread may read ahead, and closes a file a moment later.
        assert wait_for(lambda: not open_below(tmp_path))


def open_below(folder: Path) -> list[Path]:
    """The files of this process that are open in the folder."""
    open_now = [path.resolve() for path in Path("/proc/self/fd").iterdir()]
    return [path for path in open_now if path.is_relative_to(folder)]


def test_every_input_row_is_an_output_row_with_the_functions_error_codes(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"text": "a fox", "image": IMAGES[0]},
        {"text": None, "image": IMAGES[1]},
        {"text": "a pizza", "image": None},
        {"text": None, "image": None},
        {"text": "a cat", "image": b"broken"},
        {"text": None, "image": IMAGES[2][:100]},
        {"text": "", "image": IMAGES[3]},
    ]
    source = write_rows(tmp_path / "rows.parquet", rows)
    assert embed(source, tmp_path / "out", "--shard-rows", 4) == 3
    found = rows_of(tmp_path / "out")
    assert [row["row"] for row in found] == list(range(len(rows)))
    codes = [row["error"] and row["error"]["code"] for row in found]
    assert codes == [None, None, None, "empty", "not_an_image", codes[5], None]
    assert codes[5] is not None
    has = [(row["text_vector"] is not None, row["image_vector"] is not None) for row in found]
    assert has[:5] == [(True, True), (False, True), (True, False), (False, False), (True, False)]


def test_an_image_outside_of_the_input_is_refused(tmp_path: Path) -> None:
    images_in(tmp_path / "secret", 1)
    (tmp_path / "in").mkdir()
    paths = ["../secret/000.png", str(tmp_path / "secret" / "000.png"), "a/../../secret/000.png"]
    source = write_rows(tmp_path / "in" / "rows.parquet", [{"image": path} for path in paths])
    assert embed(source, tmp_path / "out") == 3
    assert [row["error"]["code"] for row in rows_of(tmp_path / "out")] == ["blocked_url"] * 3
