"""A damaged parquet file: its rows are errors, the others are embedded, and a repair heals them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bulk_runs import embed, rows_of

GROUP_ROWS, GROUPS = 4, 3
COUNT = GROUP_ROWS * GROUPS
DAMAGED = range(GROUP_ROWS, 2 * GROUP_ROWS)


def damaged(path: Path) -> bytes:
    """Write a table, and overwrite the texts of its second row group. Returns the whole file."""
    columns = {"name": [f"n{row}" for row in range(COUNT)], "text": [f"t{r}" for r in range(COUNT)]}
    pq.write_table(pa.table(columns), path, row_group_size=GROUP_ROWS)
    whole = path.read_bytes()
    chunk = pq.read_metadata(path).row_group(1).column(1)
    start, size = chunk.dictionary_page_offset, chunk.total_compressed_size
    path.write_bytes(whole[:start] + b"\xff" * size + whole[start + size :])
    return whole


@pytest.mark.parametrize("shard_rows", [3, 5, COUNT])
def test_rows_of_a_damaged_row_group_are_errors_until_the_file_is_repaired(
    tmp_path: Path, shard_rows: int
) -> None:
    whole = damaged(tmp_path / "rows.parquet")
    run = (tmp_path / "rows.parquet", tmp_path / "out", "--id-column", "name")
    options = ("--shard-rows", shard_rows)
    assert embed(*run, *options) == 3
    found = rows_of(tmp_path / "out")
    for row, values in enumerate(found):
        if row in DAMAGED:
            assert (values["name"], values["text_vector"]) == (None, None)
            assert values["error"]["code"] == "unreadable"
            assert "row group 1 of the parquet file is damaged" in values["error"]["detail"]
        else:
            assert (values["name"], values["error"]) == (f"n{row}", None)
    (tmp_path / "rows.parquet").write_bytes(whole)
    assert embed(*run, *options, "--retry-failed") == 0
    again = rows_of(tmp_path / "out")
    assert [row["name"] for row in again] == [f"n{row}" for row in range(COUNT)]
    assert all(row["text_vector"] for row in again)


def test_a_file_that_changes_during_a_run_is_not_taken_for_a_damaged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged(source := tmp_path / "rows.parquet")
    monkeypatch.setattr(
        "bulk.commands.begin", lambda *_: source.write_bytes(source.read_bytes()[:-9])
    )
    assert embed(source, tmp_path / "out") == 1
    assert "rows.parquet: has changed during the run" in capsys.readouterr().err


def test_texts_that_are_not_utf_8_are_read_with_replacement_characters(tmp_path: Path) -> None:
    texts = pa.array([b"caf\xe9", b"caf\xc3\xa9"]).view(pa.string())
    pq.write_table(pa.table({"text": texts}), tmp_path / "rows.parquet")
    assert embed(tmp_path / "rows.parquet", tmp_path / "out") == 0
