"""Searching a run's output: in the terminal, and as a page with images."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from export.emoji import names, picture_at
from tests.bulk_runs import bulk, embed

FOX = [entry["en"] for entry in names()].index("fox")


@pytest.mark.parametrize("kind", ["bytes", "paths"])
def test_the_nearest_image_comes_first_and_stands_in_the_page(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images = {f"{index}.png": picture_at(index) for index in (*range(20), FOX)}
    for name, data in images.items():
        (tmp_path / name).write_bytes(data)
    column = list(images.values()) if kind == "bytes" else list(images)
    table = pa.table({"name": [f"<{name}>" for name in images], "image": column})
    pq.write_table(table, tmp_path / "rows.parquet")
    output, page = tmp_path / "out", tmp_path / "page.html"
    run = (tmp_path / "rows.parquet", output, "--id-column", "name", "--shard-rows", 6)
    assert embed(*run) == 0
    capsys.readouterr()
    assert bulk("search", output, "a fox", "--top", 3, "--html", page) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].endswith(f"<{FOX}.png>")
    text = page.read_text("utf-8")
    assert text.count('<img src="data:image/webp;base64,') == 3
    assert f"&lt;{FOX}.png&gt;" in text
    assert "the nearest 3 of 21 rows · model demo" in text


def test_a_folder_without_a_run_cannot_be_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bulk("search", tmp_path, "a fox") == 1
    assert "no run here" in capsys.readouterr().err
