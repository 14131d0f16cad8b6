"""A bulk run continues where it stopped, refuses another run's folder, and reports its end."""

import json
import os
import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bulk.location import Location
from common.config import Settings
from tests.bulk_runs import DEMO, assert_same, bulk, embed, images_in, rows_of, start, table_of
from tests.image_server import ImageServer, picture

LOOPBACK = Settings.from_env(
    {"CLIP_FETCH_ALLOW_NETWORKS": "127.0.0.0/8", "CLIP_FETCH_RETRIES": "0"}
)
COUNT, SHARD_ROWS = 23, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images_in(tmp_path_factory.mktemp("bulk") / "in", COUNT)


@pytest.fixture(scope="module")
def whole(folder: Path) -> pa.Table:
    """What a run that nobody disturbs writes."""
    output = folder.parent / "whole"
    assert embed(folder, output, "--shard-rows", SHARD_ROWS) == 0
    return table_of(output)


def assert_whole(output: Path, whole: pa.Table) -> None:
    """Row for row; vectors may differ by what a batch of another size rounds otherwise."""
    found = table_of(output)
    assert found.column("error").null_count == COUNT
    assert_same(found, whole)


def test_a_run_that_lacks_parts_writes_them_alone(
    folder: Path, whole: pa.Table, tmp_path: Path
) -> None:
    assert embed(folder, tmp_path, "--shard-rows", SHARD_ROWS) == 0
    parts = sorted(tmp_path.glob("part-*"))
    for part in parts[1::2]:
        part.unlink()
    before = [part.stat().st_mtime_ns for part in parts[::2]]
    assert embed(folder, tmp_path, "--shard-rows", SHARD_ROWS) == 0
    assert [part.stat().st_mtime_ns for part in parts[::2]] == before
    assert_whole(tmp_path, whole)


@pytest.mark.parametrize("options", [(), ("--task", "1/3"), ("--retry-failed",)])
def test_a_complete_run_says_so_after_one_listing_and_does_nothing(
    folder: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = (folder, tmp_path, "--shard-rows", SHARD_ROWS, *options)
    embed(*run)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    capsys.readouterr()
    listed: list[str] = []
    files = Location.files

    def counting(location: Location, recursive: bool = False) -> object:
        listed.append(location.path)
        return files(location, recursive)

    monkeypatch.setattr(Location, "files", counting)
    monkeypatch.setattr("bulk.worker.Worker", None)  # no thread, no encoder
    monkeypatch.setattr("bulk.outputs.parquet.ParquetParts.counts", None)  # no part is opened
    assert embed(*run) == 0
    assert listed.count(str(tmp_path)) == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert "nothing left to do" in capsys.readouterr().out


def test_rows_are_counted_again_only_in_files_that_have_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "texts.csv"
    source.write_text("text\na\nb\n")
    assert embed(source, tmp_path / "out") == 0
    with monkeypatch.context() as patched:
        patched.setattr("bulk.inputs.streams.StreamTable.count", None)
        assert embed(source, tmp_path / "out") == 0
    source.write_text("text\nabc\n")  # the same size
    os.utime(source, (1, 1))
    assert embed(source, tmp_path / "out") == 1
    assert "had 9 bytes and 2 rows, and has 9 and 1" in capsys.readouterr().err


def test_parts_that_disappear_during_a_run_are_not_passed_over(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bulk.worker.Worker.embed", lambda *_: None)
    assert embed(folder, tmp_path / "out") == 1
    assert "parts have disappeared during the run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--shard-rows", 5), "shard_rows was 4 and is 5"),
        (("--vector-type", "int8"), "--vector-type was 'float32' and is 'int8'"),
        (("--model", "demo-mclip"), "model was 'demo' and is 'demo-mclip'"),
    ],
)
def test_a_run_with_another_setting_is_refused_by_its_name(
    folder: Path,
    whole: pa.Table,
    options: tuple[object, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bulk.job.Job.open_embedder", None)  # before a model is touched
    assert embed(folder, folder.parent / "whole", "--shard-rows", SHARD_ROWS, *options) == 1
    assert message in capsys.readouterr().err


def test_vectors_of_two_fingerprints_never_mix(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embed(folder, tmp_path, "--limit", 4)
    run = json.loads((tmp_path / "_run.json").read_text())
    (tmp_path / "_run.json").write_text(json.dumps(run | {"fingerprint": "0" * 16}))
    assert embed(folder, tmp_path, "--limit", 4) == 1
    assert "fingerprint was '0000000000000000' and is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "zzz.png").write_bytes(b"x"), "zzz.png is new"),
        (lambda folder: (folder / "001.png").unlink(), "001.png is missing"),
        (lambda folder: (folder / "002.png").write_bytes(b"x"), "002.png had "),
    ],
)
def test_a_changed_input_is_refused_with_the_file_that_changed(
    tmp_path: Path, change: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = images_in(tmp_path / "in", 4)
    assert embed(source, tmp_path / "out") == 0
    assert callable(change)
    change(source)
    assert embed(source, tmp_path / "out") == 1
    assert message in capsys.readouterr().err


def test_a_folder_with_other_files_is_not_taken_over(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert embed(folder, tmp_path) == 1
    assert "not empty and holds no run" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_output_that_is_a_file_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file")
    assert embed(folder, tmp_path / "out" / "run") == 1
    assert "cannot be written to: not a folder" in capsys.readouterr().err


def test_shards_that_do_not_fit_into_memory_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulk.commands.instance_bytes", lambda: 2**20)
    (tmp_path / "texts.csv").write_text("text\n" + "x\n" * 1000)
    assert embed(tmp_path / "texts.csv", tmp_path / "out") == 1
    assert "give at most 42" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("allowed", "status"), [("0", 3), ("1", 3), ("2", 0), ("1%", 3), ("20%", 0), ("19%", 3)]
)
def test_the_exit_status_says_whether_too_many_rows_failed(
    tmp_path: Path, allowed: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    source = images_in(tmp_path / "in", 8)
    for name in ("x.png", "y.png"):
        (source / name).write_bytes(b"broken")
    assert embed(source, tmp_path / "out", "--max-failures", allowed) == status
    assert capsys.readouterr().out == "10 rows, 2 failed\n  not_an_image: 2\n"


def test_failures_that_may_pass_are_tried_again_when_asked_for(
    tmp_path: Path, image_server: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulk.options.get_settings", lambda: LOOPBACK)
    good = image_server.serve("/good.png", picture())
    urls = [
        good,
        f"{image_server.url}/late.png",
        "data:,nothing",
        good,
        f"{image_server.url}/broken",
    ]
    rows = [{"id": f"r{at}", "image": url} for at, url in enumerate(urls)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    run = (tmp_path / "rows.parquet", tmp_path / "out", "--id-column", "id", "--shard-rows", 4)
    monkeypatch.setattr(image_server, "answer_not_found", image_server.answer_broken)
    assert embed(*run) == 3
    assert [bool(row["error"]) for row in rows_of(tmp_path / "out")] == [0, 1, 1, 0, 1]
    asked = image_server.requests["/good.png"]
    image_server.serve("/late.png", picture(colour="navy"))
    assert embed(*run) == 3, "without the option a part that is there stays as it is"
    assert embed(*run, "--retry-failed") == 3
    found = rows_of(tmp_path / "out")
    assert [bool(row["error"]) for row in found] == [0, 0, 1, 0, 1]
    assert [row["id"] for row in found] == ["r0", "r1", "r2", "r3", "r4"]
    assert found[1]["image_vector"] != found[0]["image_vector"]
    assert image_server.requests["/good.png"] == asked, "rows that worked are left alone"


def test_tasks_share_the_shards(folder: Path, whole: pa.Table, tmp_path: Path) -> None:
    run = (folder, tmp_path, "--shard-rows", SHARD_ROWS)
    assert embed(*run, "--task", "1/3") == 0
    assert [path.name for path in sorted(tmp_path.glob("part-*"))] == [
        "part-00001.parquet",
        "part-00004.parquet",
    ]
    assert embed(*run, "--task", "0/3") == 0
    assert embed(*run, "--task", "2/3") == 0
    assert_whole(tmp_path, whole)


def test_a_cloud_run_task_knows_its_number(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_RUN_TASK_INDEX", "5")
    monkeypatch.setenv("CLOUD_RUN_TASK_COUNT", "6")
    assert embed(folder, tmp_path, "--shard-rows", SHARD_ROWS) == 0
    assert [path.name for path in tmp_path.glob("part-*")] == ["part-00005.parquet"]


def test_status_counts_parts_and_failures(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embed(folder, tmp_path, "--shard-rows", SHARD_ROWS, "--task", "0/2")
    capsys.readouterr()
    assert bulk("status", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "parts    3 of 6 written, 3 left" in printed
    assert "12 rows, 0 failed" in printed


def test_a_dry_run_writes_nothing(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embed(folder, tmp_path / "out", "--shard-rows", SHARD_ROWS, "--dry-run") == 0
    assert f"{COUNT} rows" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_killed_run_goes_on_and_no_half_part_is_ever_visible(
    folder: Path, whole: pa.Table, tmp_path: Path
) -> None:
    run = ("embed", folder, tmp_path, *DEMO, "--shard-rows", SHARD_ROWS)
    for parts in (0, 1, 3):
        process = start(*run)
        while process.poll() is None and len(list(tmp_path.glob("part-*"))) < parts:
            for part in tmp_path.glob("part-*"):
                pq.read_table(part)
        process.kill()
        process.communicate()
    assert embed(*run[1:3], "--shard-rows", SHARD_ROWS) == 0
    assert_whole(tmp_path, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_ends_a_run_at_once_and_says_how_to_go_on(
    tmp_path: Path, image_server: ImageServer, number: signal.Signals
) -> None:
    (tmp_path / "urls.txt").write_text(f"{image_server.url}/gated\n" * 3)
    process = start(
        "embed",
        tmp_path / "urls.txt",
        tmp_path / "out",
        *DEMO,
        environ={"CLIP_FETCH_ALLOW_NETWORKS": "127.0.0.0/8", "CLIP_FETCH_TIMEOUT_S": "60"},
    )
    assert image_server.seen("/gated")
    process.send_signal(number)
    _, errors = process.communicate(timeout=8)  # a download may take 10 s
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "interrupted; the same command continues from here"
    assert not list((tmp_path / "out").glob("part-*"))


def test_a_full_disk_is_one_line_and_leaves_whole_parts(folder: Path, tmp_path: Path) -> None:
    """A limit of a file's size stands in for the disk."""
    run = ("embed", folder, tmp_path / "out", *DEMO)
    process = start(*run, before=["prlimit", "--fsize=16000"])
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.splitlines()[-1] == "bulk: part 0 cannot be written: File too large"
    assert not list((tmp_path / "out").glob("*part-*"))
    assert embed(folder, tmp_path / "out") == 0


def test_an_input_that_disappears_ends_the_run_and_writes_no_part_of_errors(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = images_in(tmp_path / "in", 3)
    monkeypatch.setattr("bulk.commands.begin", lambda *_: source.rename(tmp_path / "unmounted"))
    assert embed(source, tmp_path / "out") == 1
    assert "the input has disappeared" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/part-*"))
