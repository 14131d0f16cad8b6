"""Of different runs that begin in one folder at once, at most one goes on."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bulk.errors import BadOutput
from bulk.location import Listed, Location
from bulk.run import begin, read_run_file
from bulk.run_file import RunFile
from tests.bucket import serving_bucket

MODELS = ("clip", "demo", "mclip")


def run(model: str) -> RunFile:
    return RunFile(model, "f" * 16, 256, "in", 1, 1, "d", 10, {})


def begins(folder: Location, model: str) -> bool:
    try:
        begin(folder, run(model), [])
    except BadOutput:
        return False
    return True


def names(folder: Location) -> list[str]:
    return [file.name for file in folder.files()]


def test_runs_that_begin_together_leave_the_folder_to_one_or_to_none(tmp_path: Path) -> None:
    for attempt in range(10):
        folder = Location.of(str(tmp_path / str(attempt)))
        with ThreadPoolExecutor(len(MODELS)) as pool:
            began = [*pool.map(lambda model, folder=folder: begins(folder, model), MODELS)]
        there = read_run_file(folder)
        assert [model for model, ok in zip(MODELS, began, strict=True) if ok] == (
            [there.model] if there else []
        )
        assert names(folder) == (["_input.parquet", "_run.json"] if there else [])


def at_listing(monkeypatch: pytest.MonkeyPatch, action: Callable[[], None]) -> None:
    """Call `action` once, just before a run looks for the claims of others."""
    files, called = Location.files, threading.Event()

    def listing(place: Location, recursive: bool = False) -> list[Listed]:
        if not called.is_set():
            called.set()
            action()
        return files(place, recursive)

    monkeypatch.setattr(Location, "files", listing)


def test_a_run_in_a_bucket_gives_up_once_another_has_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving_bucket() as bucket:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.host)
        folder = Location.of(f"{bucket.uri}/out")
        at_listing(monkeypatch, lambda: begin(folder, run("clip"), []))
        with pytest.raises(BadOutput, match="begins here: model was 'demo' and is 'clip'"):
            begin(folder, run("demo"), [])
        assert names(folder) == []
        begin(folder, run("demo"), [])
        with pytest.raises(BadOutput, match="holds another run: model was 'demo' and is 'clip'"):
            begin(folder, run("clip"), [])
        assert names(folder) == ["_input.parquet", "_run.json"]


def test_a_run_that_was_killed_at_its_start_goes_on_and_others_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Location.of(str(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr(Location, "remove", lambda _: None)
        patched.setattr("bulk.run.listing_to_parquet", lambda _: 1 / 0)  # where it is killed
        with pytest.raises(ZeroDivisionError):
            begin(folder, run("clip"), [])
    assert not begins(folder, "demo")
    assert begins(folder, "clip")
    assert names(folder) == ["_input.parquet", "_run.json"]
