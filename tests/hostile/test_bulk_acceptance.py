"""A corpus in every form gives the vectors that the function gives. Full size with --hostile."""

import base64
import csv
import io
import json
import random
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.bucket import BUCKET, serving_bucket
from tests.bulk_runs import DEMO, assert_same, start, table_of
from tests.e2e.server import Server
from tests.image_server import ImageServer

Vectors = NDArray[np.float32]
CALL = 256  # items of one call of the function
LOOPBACK = {"CLIP_FETCH_ALLOW_NETWORKS": "127.0.0.0/8"}


def generated(index: int) -> bytes:
    """An image like no other: soft colours, as PNG."""
    colours = np.random.default_rng(index).integers(0, 256, (4, 4, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(colours).resize((48, 40), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


def data_url(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode()


@pytest.fixture(scope="module")
def images(effort: Callable[[int, int], int]) -> list[bytes]:
    return [generated(index) for index in range(effort(40, 10_000))]


@pytest.fixture(scope="module")
def texts(images: list[bytes]) -> list[str]:
    return [f'a photo of {index} foxes, "quoted"' for index in range(len(images))]


def asked(server: Server, path: str, name: str, items: list[str], answer: str) -> Vectors:
    """The function's vectors of these items, a call at a time."""
    calls = [items[at : at + CALL] for at in range(0, len(items), CALL)]
    vectors = [row for call in calls for row in server.post(path, {name: call}).json()[answer]]
    return np.array(vectors, np.float32)


@pytest.fixture(scope="module")
def of_images(demo: Server, images: list[bytes]) -> Vectors:
    return asked(demo, "/embed/image", "urls", list(map(data_url, images)), "embeddings")


@pytest.fixture(scope="module")
def of_texts(demo: Server, texts: list[str]) -> Vectors:
    return asked(demo, "/embed/text", "texts", texts, "embeddings")


@pytest.fixture
def folder(tmp_path: Path, images: list[bytes]) -> Path:
    source = tmp_path / "in"
    source.mkdir()
    for index, image in enumerate(images):
        (source / f"{index:05}.png").write_bytes(image)
    return source


def vectors_of(parts: list[pa.Table], name: str) -> Vectors:
    table = pa.concat_tables(parts)
    assert table["error"].null_count == table.num_rows
    flat: Vectors = table[name].combine_chunks().flatten().to_numpy()
    return flat.reshape(table.num_rows, -1)


def run(source: object, output: object, **environ: str) -> None:
    process = start("embed", source, output, *DEMO, "--shard-rows", 1_000, environ=environ)
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    assert printed.endswith(" rows, 0 failed\n")


def check(output: Path, name: str, expected: Vectors, server: Server) -> None:
    """The vectors, and the fingerprint that is kept beside them."""
    parts = [pq.read_table(part) for part in sorted(output.glob("part-*"))]
    found = vectors_of(parts, name)
    assert len(found) == len(expected)
    distance = 1 - (found.astype(float) * expected).sum(axis=1)
    print(f"{len(found):,} rows, largest cosine distance {distance.max():.1e}")
    assert distance.max() <= 1e-5
    kept = json.loads((output / "_run.json").read_text())["fingerprint"]
    assert kept == server.get("/").json()["fingerprint"]


def test_a_folder(folder: Path, of_images: Vectors, demo: Server, tmp_path: Path) -> None:
    run(folder, tmp_path / "out")
    check(tmp_path / "out", "image_vector", of_images, demo)


def test_parquet_of_urls(
    images: list[bytes],
    of_images: Vectors,
    demo: Server,
    image_server: ImageServer,
    tmp_path: Path,
) -> None:
    urls = [
        data_url(image) if index % 2 else image_server.serve(f"/{index}.png", image)
        for index, image in enumerate(images)
    ]
    pq.write_table(pa.table({"url": urls}), tmp_path / "urls.parquet")
    run(tmp_path / "urls.parquet", tmp_path / "out", **LOOPBACK)
    check(tmp_path / "out", "image_vector", of_images, demo)


def test_a_tar(images: list[bytes], of_images: Vectors, demo: Server, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        for index, image in enumerate(images):
            member = tarfile.TarInfo(f"{index:05}.png")
            member.size = len(image)
            archive.addfile(member, io.BytesIO(image))
    run(tmp_path / "images.tar", tmp_path / "out")
    check(tmp_path / "out", "image_vector", of_images, demo)


def test_csv_of_texts(texts: list[str], of_texts: Vectors, demo: Server, tmp_path: Path) -> None:
    with (tmp_path / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts)])
    run(tmp_path / "texts.csv", tmp_path / "out")
    check(tmp_path / "out", "text_vector", of_texts, demo)


def test_a_bucket(folder: Path, of_images: Vectors, demo: Server, tmp_path: Path) -> None:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    with serving_bucket() as bucket:
        bucket.upload_folder(folder, f"{bucket.folder}/in")
        environ = {"STORAGE_EMULATOR_HOST": bucket.host}
        run(f"{bucket.uri}/in", f"{bucket.uri}/out", **environ)
        options = {"api_endpoint": bucket.host}
        client = storage.Client("test", AnonymousCredentials(), client_options=options)
        output = tmp_path / "out"
        output.mkdir()
        for blob in client.list_blobs(BUCKET, prefix=f"{bucket.folder}/out/"):
            (output / Path(blob.name).name).write_bytes(blob.download_as_bytes())
    check(output, "image_vector", of_images, demo)


def test_killed_runs_that_are_resumed_give_what_one_run_gives(
    images: list[bytes], effort: Callable[[int, int], int], tmp_path: Path
) -> None:
    """A reader that looks all the time sees whole parts alone."""
    source = tmp_path / "in"
    source.mkdir()
    for index, image in enumerate(images):
        (source / f"{index:05}.png").write_bytes(image)
    words = (
        "embed",
        source,
        tmp_path / "killed",
        *DEMO,
        "--shard-rows",
        max(4, len(images) // 100),
    )
    for _ in range(effort(1, 30)):
        process = start(*words)
        try:
            process.wait(random.uniform(0.2, 3))
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate()
        for part in (tmp_path / "killed").glob("part-*"):
            pq.read_table(part)
    for name in ("killed", "whole"):
        process = start(*words[:2], tmp_path / name, *words[3:])
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert_same(table_of(tmp_path / "killed"), table_of(tmp_path / "whole"))
