"""Bad input and bad use of bulk runs: one clear line before any work, or rows with errors."""

import io
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from export.emoji import picture_at
from tests.bulk_runs import embed, images_in, rows_of

CSV = b"text\nx\n"
BAD: list[tuple[str, bytes | None, tuple[str, ...], str]] = [
    ("missing.parquet", None, (), "no such file or folder"),
    ("empty", b"", (), "no such file or folder, or it has no supported files"),
    ("rows.csv", b"text\n", (), "no rows"),
    ("rows.csv", b"a,b\n1,2\n", (), "no column to embed"),
    ("rows.csv", CSV, ("--image-column", "picture"), "no column 'picture'; it has text"),
    ("rows.csv", CSV, ("--keep", "more"), "no column 'more'"),
    ("rows.csv", CSV, ("--keep", "row"), "no column 'row'"),
    ("rows.csv", b"text,row\nx,1\n", ("--keep", "row"), "column 'row': the output has one"),
    ("rows.csv", b"text,error\nx,1\n", ("--id-column", "error"), "column 'error': the output"),
    ("rows.csv", b"text,text\nx,y\n", (), "2 columns have the name 'text'"),
    ("rows.csv", b"id,text\n1,caf\xe9\n", (), "invalid UTF8"),
    ("rows.csv", b"id,text\n1,a\n2\n", (), "Expected 2 columns, got 1"),
    ("rows.txt", "a\nb\n".encode("utf-16"), (), "is UTF-16; convert it to UTF-8"),
    ("rows.xml", b"<a/>", (), "not a supported kind of file"),
    ("rows.parquet", b"no parquet", (), "cannot be read as a parquet file"),
    ("rows.tar", b"no tar", (), "cannot be read as a tar file"),
    ("rows.jsonl", b'{"text": "a"}\n{"text"\n', (), "line 2 is not JSON"),
    ("rows.jsonl", b"[1]\n", (), "line 1 is not a JSON object"),
    ("rows.jsonl", b'{"text": "a"}\n{"text": 1}\n', (), "'text' has values of several types"),
    ("rows.jsonl", b'{"text": ["a"]}\n', (), "column 'text' holds list<"),
    ("rows.csv", CSV, ("--max-failures", "some"), "--max-failures is 'some'"),
    ("rows.csv", CSV, ("--task", "3/3"), "--task is '3/3'"),
    ("rows.csv", CSV, ("--shard-rows", "1e6"), "--shard-rows: '1e6' is not a whole number from 1"),
    ("rows.csv", CSV, ("--threads", "100000"), "--threads: 100,000 is more than 256"),
    ("rows.csv", CSV, ("--text-column", "\udcff"), "'\\udcff' is not UTF-8; use another name"),
]


@pytest.mark.parametrize(("name", "content", "options", "message"), BAD)
def test_a_bad_use_is_one_clear_line_before_any_work(
    tmp_path: Path,
    name: str,
    content: bytes | None,
    options: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bulk.job.Job.open_embedder", None)  # no model is touched
    if content == b"":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_bytes(content)
    assert embed(tmp_path / name, tmp_path / "out", *options) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert message in printed.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("uri", "message"),
    [("s3://bucket/x", "use a local path or gs://"), ("https://a.example/x", "use a local path")],
)
def test_other_schemes_are_refused(
    uri: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embed(uri, tmp_path / "out") == 1
    assert message in capsys.readouterr().err


def test_a_path_that_is_empty_is_not_the_current_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes from a variable of a shell that is not set."""
    monkeypatch.chdir(images_in(tmp_path / "in", 1))
    assert embed("", tmp_path / "out") == 1
    assert embed(tmp_path / "in", "") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines == 2 * ["bulk: INPUT and OUTPUT must not be empty; use . for the current folder"]


def test_a_setting_that_cannot_be_used_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIP_FETCH_TIMEOUT_S", "soon")
    assert embed(images_in(tmp_path / "in", 1), tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bulk: CLIP_FETCH_TIMEOUT_S='soon' cannot be used")


@pytest.mark.parametrize("output", ["in", "in/vectors", "link/vectors"])
def test_an_output_inside_the_input_is_refused(
    tmp_path: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its parts would be rows of the next run."""
    source = images_in(tmp_path / "in", 1)
    (tmp_path / "link").symlink_to(source)
    assert embed(source, tmp_path / output) == 1
    assert "lies inside the input" in capsys.readouterr().err
    assert len([*source.iterdir()]) == 1


def test_a_folder_may_have_the_name_of_a_pattern(tmp_path: Path) -> None:
    assert embed(images_in(tmp_path / "in[1]", 1), tmp_path / "out") == 0


def test_a_file_in_a_folder_may_have_its_output_beside_it(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(CSV)
    assert embed(tmp_path / "rows.csv", tmp_path / "out") == 0
    assert embed(tmp_path / "*.csv", tmp_path / "other") == 0


def test_every_file_of_a_strange_folder_is_a_row_once(tmp_path: Path) -> None:
    source = images_in(tmp_path / "in", 1)
    image = picture_at(1)
    for name in ("new\nline.png", " space .png", "data:x.png", "a#?%20.png"):
        (source / name).write_bytes(image)
    (source / "a:").mkdir()
    (source / "a:" / "b.png").write_bytes(image)
    Path(os.fsdecode(os.fsencode(source) + b"/\xff.png")).write_bytes(image)
    (source / "loop").symlink_to(source)
    (source / "itself.png").symlink_to("itself.png")
    (source / "nowhere.png").symlink_to("missing.png")
    (source / "link.png").symlink_to("000.png")
    os.mkfifo(source / "fifo.png")
    assert embed(source, tmp_path / "out") == 3
    codes = {
        row["path"]: row["error"] and row["error"]["code"] for row in rows_of(tmp_path / "out")
    }
    good = (" space .png", "000.png", "a#?%20.png", "a:/b.png", "data:x.png", "link.png")
    assert codes == dict.fromkeys(good) | {"new\nline.png": None, "\\xff.png": "not_found"}
    details = [row["error"]["detail"] for row in rows_of(tmp_path / "out") if row["error"]]
    assert details == ["the file's name is not UTF-8; rename the file"]


def test_photos_may_begin_with_a_low_line_and_hidden_files_are_not_read(tmp_path: Path) -> None:
    """Cameras write _DSC0001.JPG. Other tools keep tables of their own under such names."""
    source = images_in(tmp_path / "in", 1)
    (source / ".cache").mkdir()
    for name in ("_DSC0001.JPG", "._000.png", ".cache/001.png", "_files.csv"):
        (source / name).write_bytes(picture_at(1))
    assert embed(source, tmp_path / "out") == 0
    assert [row["path"] for row in rows_of(tmp_path / "out")] == ["000.png", "_DSC0001.JPG"]


def archive(path: Path, members: list[tuple[str, bytes, bytes]]) -> None:
    """A tar of members with name, type and content; a link's content is its target."""
    with tarfile.open(path, "w") as file:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type = kind
            if kind == tarfile.REGTYPE:
                member.size = len(content)
            else:
                member.linkname = content.decode()
            file.addfile(member, io.BytesIO(content))


def test_every_member_of_a_strange_tar_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture_at(1)
    members = [
        ("folder", tarfile.DIRTYPE, b""),
        ("0.png", tarfile.SYMTYPE, b"a.png"),
        ("a.png", tarfile.REGTYPE, image),
        ("b.png", tarfile.LNKTYPE, b"a.png"),
        ("c.png", tarfile.SYMTYPE, b"/etc/passwd"),
        ("d.png", tarfile.FIFOTYPE, b""),
        ("/etc/e.png", tarfile.REGTYPE, image),
        ("../f.png", tarfile.REGTYPE, image),
        ("g.png", tarfile.REGTYPE, image + bytes(50_000)),
        ("h.json", tarfile.REGTYPE, b"[" * 100_000),
    ]
    archive(tmp_path / "rows.tar", members)
    monkeypatch.setattr("bulk.inputs.webdataset.MOST_BYTES", 20_000)
    assert embed(tmp_path / "rows.tar", tmp_path / "out", "--id-column", "key") == 3
    codes = {row["key"]: row["error"] and row["error"]["code"] for row in rows_of(tmp_path / "out")}
    assert codes == {
        **dict.fromkeys(("a", "/etc/e", "../f", "g")),
        **dict.fromkeys(("0", "b", "c", "d", "h"), "empty"),
    }


def test_columns_of_every_type_of_text_and_bytes_are_read(tmp_path: Path) -> None:
    columns: list[tuple[pa.Array, str]] = [
        (pa.array(["a", "b"]).dictionary_encode(), "text"),
        (pa.array(["a", "b"], pa.large_string()), "text"),
        (pa.array(["a", "b"], pa.string_view()), "text"),
        (pa.array([b"a", b"b"]), "text"),
        (pa.array([picture_at(0), picture_at(1)], pa.large_binary()), "image"),
        (pa.array([picture_at(0), picture_at(1)]).dictionary_encode(), "image"),
    ]
    texts = []
    for number, (column, name) in enumerate(columns):
        pq.write_table(pa.table({name: column}), tmp_path / f"{number}.parquet")
        output = tmp_path / f"out-{number}"
        assert embed(tmp_path / f"{number}.parquet", output) == 0
        if name == "text":
            texts.append([row["text_vector"] for row in rows_of(output)])
    assert all(vectors == texts[0] for vectors in texts)


def test_json_lines_may_lack_a_key_in_the_first_line_and_begin_with_a_mark(tmp_path: Path) -> None:
    lines = b'\xef\xbb\xbf{"id": 1}\n{"id": 2, "text": "a"}\n'
    (tmp_path / "rows.jsonl").write_bytes(lines)
    assert embed(tmp_path / "rows.jsonl", tmp_path / "out") == 3
    assert [bool(row["error"]) for row in rows_of(tmp_path / "out")] == [True, False]


def test_a_line_without_an_end_is_not_read_into_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulk.inputs.streams.MAX_LINE_BYTES", 10)
    monkeypatch.setattr("bulk.inputs.streams.BLOCK_BYTES", 8)
    (tmp_path / "rows.txt").write_bytes(b"short\n" + b"x" * 100)
    assert embed(tmp_path / "rows.txt", tmp_path / "out") == 1
    assert "a line is longer than 10 bytes" in capsys.readouterr().err


def test_a_row_of_csv_that_is_too_long_is_named_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where an end of a quote is missing, for example."""
    (tmp_path / "rows.csv").write_bytes(CSV + b"x\n" * 4_000_000 + b'"' + b"y" * 9_000_000)
    assert embed(tmp_path / "rows.csv", tmp_path / "out") == 1
    assert "a row is longer than 8,388,608 bytes" in capsys.readouterr().err
