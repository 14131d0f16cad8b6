"""OpenAI's own client when the function refuses: a wrong key, a full queue, a missing model."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.e2e.openai_client import client_of
from tests.e2e.server import Server, serve
from tests.image_server import ImageServer
from tests.image_urls import PIZZA

PICTURE = {"input": {"image": PIZZA}}


class Witness(httpx2.HTTPTransport):
    """Notes every status, and does `after` when it is `refused`."""

    def __init__(self, refused: int, after: Callable[[], object]) -> None:
        super().__init__()
        self.statuses: list[int] = []
        self._refused = refused
        self._after = after

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = super().handle_request(request)
        self.statuses.append(response.status_code)
        if response.status_code == self._refused:
            self._after()
        return response


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose queue holds one item."""
    folder = tmp_path_factory.mktemp("narrow")
    with serve(folder, CLIP_MAX_QUEUE_ITEMS="1", CLIP_HEALTH_WAIT_S="60") as server:
        assert server.get("/health").json()["status"] == "healthy"
        yield server


@contextmanager
def held(server: Server, image_server: ImageServer) -> Iterator[None]:
    """A gated image holds the server's queue."""
    body = {"urls": [image_server.url + "/gated"]}
    holder = threading.Thread(target=server.post, args=("/embed/image", body), daemon=True)
    holder.start()
    assert image_server.seen("/gated")
    yield
    image_server.gate.set()
    holder.join()


def test_its_client_comes_back_after_429(narrow: Server, image_server: ImageServer) -> None:
    """The queue is full until it was refused once; it retries after what Retry-After says."""
    witness = Witness(429, image_server.gate.set)
    with (
        held(narrow, image_server),
        client_of(narrow, http_client=httpx2.Client(transport=witness), max_retries=5) as client,
    ):
        assert len(client.embeddings.create(model="demo", input="", extra_body=PICTURE).data) == 1
        assert (witness.statuses[0], witness.statuses[-1]) == (429, 200)


def test_its_client_comes_back_after_503(tmp_path: Path) -> None:
    """A bundle that cannot be read stands before the one that ships, until it was refused once."""
    folder = tmp_path / "weights" / "demo"
    witness = Witness(503, lambda: shutil.rmtree(folder, ignore_errors=True))
    with (
        serve(tmp_path, CLIP_WEIGHTS_DIR=str(folder.parent), CLIP_ENGINE="onnx") as server,
        client_of(server, http_client=httpx2.Client(transport=witness), max_retries=5) as client,
    ):
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{")
        assert len(client.embeddings.create(model="demo", input="a fox").data) == 1
        assert (witness.statuses[0], witness.statuses[-1]) == (503, 200)


def test_an_overload_that_lasts_is_its_rate_limit_error(
    narrow: Server, image_server: ImageServer
) -> None:
    with held(narrow, image_server), client_of(narrow, max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as raised:
            client.embeddings.create(model="demo", input="", extra_body=PICTURE)
        assert (raised.value.code, raised.value.type) == ("overloaded", "rate_limit_error")


def test_a_model_that_cannot_be_had_is_its_internal_server_error(tmp_path: Path) -> None:
    """503: the class that its client gives to every status from 500 on."""
    settings: Any = {
        "CLIP_MODEL": "mclip",
        "CLIP_ENGINE": "onnx",
        "CLIP_WEIGHTS_DIR": str(tmp_path),
    }
    with serve(tmp_path, **settings) as server, client_of(server, max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as raised:
            client.embeddings.create(model="mclip", input="a fox")
        assert (raised.value.status_code, raised.value.code, raised.value.type) == (
            503,
            "model_unavailable",
            "server_error",
        )


def test_a_wrong_key_is_its_authentication_error_and_the_right_one_passes(guarded: Server) -> None:
    for key in ("first-key", "second-key"):
        with client_of(guarded, key) as client:
            assert client.embeddings.create(model="demo", input="a fox").data
    with client_of(guarded) as client, pytest.raises(openai.AuthenticationError) as raised:
        client.embeddings.create(model="demo", input="a fox")
    assert (raised.value.code, raised.value.type) == ("unauthorized", "authentication_error")
