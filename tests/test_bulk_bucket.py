"""A bucket as input and as output, through the storage emulator."""

import io
import tarfile
import threading
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from export.emoji import picture_at
from tests.bucket import BUCKET, Bucket, serving_bucket
from tests.bulk_runs import DEMO, assert_same, embed, images_in, rows_of, start, table_of

COUNT = 6


def read(bucket: Bucket, name: str) -> bytes:
    """An object of the bucket's folder, by Google's own client."""
    client = storage.Client(
        "test", AnonymousCredentials(), client_options={"api_endpoint": bucket.host}
    )
    with closing(client):
        data: bytes = client.bucket(BUCKET).blob(f"{bucket.folder}/{name}").download_as_bytes()
    return data


def test_a_bucket_is_read_and_written_as_a_folder_is(tmp_path: Path) -> None:
    assert embed(images_in(tmp_path / "in", COUNT), tmp_path / "out", "--shard-rows", 4) == 0
    expected = table_of(tmp_path / "out")
    with serving_bucket() as bucket:
        names = [f"{bucket.folder}/in/{index:03}.png" for index in range(COUNT)]
        bucket.upload({name: picture_at(index) for index, name in enumerate(names)})
        run = ("embed", f"{bucket.uri}/in", f"{bucket.uri}/out", *DEMO, "--shard-rows", 4)
        environ = {"STORAGE_EMULATOR_HOST": bucket.host}
        for said in ("6 rows, 0 failed\n", "all parts are written: nothing left to do\n"):
            process = start(*run, environ=environ)
            printed, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
            assert printed.startswith(said)
        parts = [read(bucket, f"out/part-0000{shard}.parquet") for shard in range(2)]
    found = pa.concat_tables([pq.read_table(pa.BufferReader(part)) for part in parts])
    assert_same(found, expected)


def test_objects_are_read_at_the_same_time_with_one_request_each(tmp_path: Path) -> None:
    """A real bucket answers after tens of milliseconds, whatever the size."""
    count = 16
    with serving_bucket() as bucket:
        names = [f"{bucket.folder}/in/slow-{index:02}.png" for index in range(count)]
        bucket.upload({name: picture_at(index) for index, name in enumerate(names)})
        bucket.together = threading.Barrier(count)
        process = start(
            *("embed", f"{bucket.uri}/in", tmp_path / "out", *DEMO),
            environ={"STORAGE_EMULATOR_HOST": bucket.host},
        )
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        asked = {name: n for name, n in bucket.requests.items() if name.startswith("slow")}
        assert asked == {f"slow-{index:02}.png": 1 for index in range(count)}


def test_a_tar_of_a_bucket_is_not_asked_for_member_by_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for index in range(COUNT):
            member = tarfile.TarInfo(f"{index}.png")
            member.size = len(picture_at(index))
            archive.addfile(member, io.BytesIO(picture_at(index)))
    assert embed(images_in(tmp_path / "in", COUNT), tmp_path / "expected") == 0
    with serving_bucket() as bucket:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.host)
        bucket.upload({f"{bucket.folder}/rows.tar": file.getvalue()})
        assert embed(f"{bucket.uri}/rows.tar", tmp_path / "out") == 0
    ours, theirs = (
        [row["image_vector"] for row in rows_of(tmp_path / name)] for name in ("out", "expected")
    )
    assert np.allclose(ours, theirs, atol=1e-5)
    assert bucket.requests["rows.tar"] < COUNT


def test_tables_of_a_bucket_are_opened_at_the_same_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": ["a", "b"]}), sink)
    with serving_bucket() as bucket:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.host)
        data = sink.getvalue().to_pybytes()
        bucket.upload({f"{bucket.folder}/in/slow-{n}.parquet": data for n in range(2)})
        bucket.together = threading.Barrier(2)
        assert embed(f"{bucket.uri}/in", tmp_path / "out", "--dry-run") == 0
    assert "4 rows in 2 files" in capsys.readouterr().out


def test_a_bucket_that_no_longer_answers_ends_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulk.location.BUCKET_RETRIES", timedelta(seconds=0.2))
    with ExitStack() as stack:
        bucket = stack.enter_context(serving_bucket())
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", bucket.host)
        bucket.upload({f"{bucket.folder}/in/{n}.png": picture_at(n) for n in range(3)})
        monkeypatch.setattr("bulk.commands.begin", lambda *_: stack.close())
        assert embed(f"{bucket.uri}/in", tmp_path / "out") == 1
    assert "the input has disappeared" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/part-*"))


def test_missing_credentials_are_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    nowhere = {"GCE_METADATA_ROOT": "127.0.0.1:1", "HOME": str(tmp_path)}
    process = start("embed", "gs://photos/in", tmp_path / "out", *DEMO, environ=nowhere)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    (line,) = errors.splitlines()
    assert line.startswith("bulk: no credentials for gs://; run `gcloud auth")
    assert not (tmp_path / "out").exists()
