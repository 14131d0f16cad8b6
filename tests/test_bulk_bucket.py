"""A bucket as input and as output, through the storage emulator."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from export.emoji import picture_at
from tests.bucket import BUCKET, Bucket, serving_bucket
from tests.bulk_runs import DEMO, embed, images_in, start, table_of

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
    assert found.column("path").to_pylist() == expected.column("path").to_pylist()
    ours, theirs = (
        np.array(table.column("image_vector").to_pylist()) for table in (found, expected)
    )
    assert (ours * theirs).sum(axis=1).min() >= 0.99999
