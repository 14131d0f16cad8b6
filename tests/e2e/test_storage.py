"""gs:// through google-cloud-storage and a loopback emulator of the storage API."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gcp_storage_emulator.server import create_server
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from common.images.memory_budget import LARGE_BYTES
from export.emoji import picture_of
from tests.e2e.server import Server, free_port, serve
from tests.image_server import picture
from tests.image_urls import FOX, PIZZA

BUCKET = "pictures"
MAX_BYTES = 2 * 2**20


def padded(size: int) -> bytes:
    """An image of that many bytes: what comes after its end is not read."""
    return picture() + bytes(size - len(picture()))


OBJECTS = {
    "fox.png": picture_of("fox"),
    "a folder/ü?#%.png": picture_of("pizza"),
    "page.html": b"<p>",
    "empty": b"",
    "one short": padded(LARGE_BYTES - 1),
    "just": padded(LARGE_BYTES),
    "large": padded(MAX_BYTES),
    "too large": padded(MAX_BYTES + 1),
}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Where the emulator listens, with a bucket of the objects above."""
    port = free_port()
    emulator = create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    emulator.start()
    origin = f"http://127.0.0.1:{port}"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STORAGE_EMULATOR_HOST", origin)
        client = storage.Client(project="test", credentials=AnonymousCredentials())  # type: ignore[no-untyped-call]
        for name, data in OBJECTS.items():
            client.bucket(BUCKET).blob(name).upload_from_string(data, content_type="image/png")
        client.close()  # type: ignore[no-untyped-call]
    yield origin
    emulator.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, endpoint: str) -> Iterator[Server]:
    settings: Any = {"STORAGE_EMULATOR_HOST": endpoint, "GOOGLE_CLOUD_PROJECT": "test"}
    folder = tmp_path_factory.mktemp("storage")
    with serve(
        folder, CLIP_FETCH_MAX_BYTES=str(MAX_BYTES), CLIP_HEALTH_WAIT_S="60", **settings
    ) as running:
        yield running


def embed(server: Server, *urls: str) -> Any:
    return server.post("/embed/image", {"urls": list(urls), "on_error": "null"}).json()


def test_objects_get_the_vectors_of_their_pictures(server: Server) -> None:
    given = embed(server, f"gs://{BUCKET}/fox.png", f"gs://{BUCKET}/a folder/ü?#%.png")
    assert given["errors"] == []
    expected = embed(server, FOX, PIZZA)
    np.testing.assert_allclose(given["embeddings"], expected["embeddings"], atol=1e-6)


def test_objects_of_every_size_are_read_whole_and_no_larger_ones(server: Server) -> None:
    names = ["one short", "just", "large", "too large", "empty"]
    body = embed(server, *(f"gs://{BUCKET}/{name}" for name in names))
    assert [row is not None for row in body["embeddings"]] == [True, True, True, False, False]
    assert [error["code"] for error in body["errors"]] == ["too_large", "not_an_image"]


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (f"gs://{BUCKET}/no-such.png", "not_found"),
        ("gs://no-such-bucket/a.png", "not_found"),
        (f"gs://{BUCKET}", "invalid_url"),
        (f"gs://{BUCKET}/", "invalid_url"),
        ("gs://-/a.png", "invalid_url"),
        (f"gs://{BUCKET}/page.html", "unsupported_type"),
    ],
)
def test_what_cannot_be_read_has_a_code_of_its_own(server: Server, url: str, code: str) -> None:
    (error,) = embed(server, url)["errors"]
    assert (error["code"], error["url"]) == (code, url)


def test_a_storage_that_is_silent_costs_no_more_than_the_fetch_deadline(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings: Any = {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with serve(
            tmp_path, CLIP_FETCH_TIMEOUT_S="1", GOOGLE_CLOUD_PROJECT="test", **settings
        ) as server:
            body = embed(server, f"gs://{BUCKET}/fox.png", FOX)
            assert [error["code"] for error in body["errors"]] == ["timeout"]
            assert body["embeddings"][1] is not None


def test_without_credentials_an_object_is_forbidden_and_nothing_crashes(tmp_path: Path) -> None:
    settings: Any = {
        "GOOGLE_APPLICATION_CREDENTIALS": "",
        "NO_GCE_CHECK": "true",
        "HOME": str(tmp_path),
    }
    with serve(tmp_path, **settings) as server:
        (error,) = embed(server, f"gs://{BUCKET}/fox.png")["errors"]
        assert (error["code"], error["retryable"]) == ("forbidden", False)
        assert [record for record in server.records() if record["severity"] == "ERROR"] == []
