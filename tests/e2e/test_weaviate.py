"""Weaviate's multi2vec-clip: a client that sends what that module's Go client sends."""

import base64
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from export.emoji import picture_of
from tests.e2e.server import Server, serve

FOX, PIZZA = (base64.b64encode(picture_of(name)).decode() for name in ("fox", "pizza"))
READY_TIMEOUT_S = 0.5  # the module's own, for one look at /.well-known/ready
HEADERS = {"User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip"}


class VectorizeError(Exception):
    """What the module reports where the status is above 399."""


@dataclass(frozen=True)
class Client:
    """The module's three calls.

    It sends no Content-Type and no key, and reads every answer to /vectorize as JSON.
    """

    origin: str

    def wait_for_startup(self, timeout_s: float, interval_s: float = 0.1) -> list[str]:
        """Ask until /.well-known/ready is at most 299; what it was before that, look by look."""
        until, seen = time.monotonic() + timeout_s, []
        while time.monotonic() < until:
            threading.Event().wait(
                interval_s
            )  # the module's ticker, which first ticks after one interval
            try:
                status = requests.get(
                    self.origin + "/.well-known/ready", headers=HEADERS, timeout=READY_TIMEOUT_S
                ).status_code
            except requests.Timeout:
                seen.append("timeout")
                continue
            if status <= 299:
                return seen
            seen.append(f"status {status}")
        raise TimeoutError(f"init context expired before remote was ready: {seen}")

    def meta(self) -> dict[str, Any]:
        """Whatever JSON object GET /meta gives: Weaviate shows it under /v1/meta."""
        return dict(requests.get(self.origin + "/meta", headers=HEADERS, timeout=10).json())

    def vectorize(self, texts: list[str] | None, images: list[str] | None) -> tuple[Any, Any]:
        """`textVectors` and `imageVectors`; a nil slice is sent as null. Raises VectorizeError."""
        body = json.dumps(
            {"texts": texts, "images": images}, separators=(",", ":"), ensure_ascii=False
        ).encode()
        response = requests.post(self.origin + "/vectorize", body, headers=HEADERS, timeout=60)
        answer = response.json()
        if response.status_code > 399:
            raise VectorizeError(
                f"fail with status {response.status_code}: {answer.get('error', '')}"
            )
        return answer["textVectors"], answer["imageVectors"]


def native(server: Server, texts: list[str], images: list[str]) -> tuple[Any, Any]:
    urls = ["data:image/png;base64," + image for image in images]
    body = server.post("/embed/mixed", {"texts": texts, "urls": urls}).json()
    return np.array(body["text_embeddings"]), np.array(body["image_embeddings"])


def test_the_module_waits_for_a_cold_function_and_then_vectorizes(tmp_path: Path) -> None:
    """Its looks start the towers' loading; the first vectors need no further wait."""
    with serve(tmp_path) as server:
        client = Client(server.url)
        assert set(client.wait_for_startup(timeout_s=30)) <= {"timeout", "status 503"}
        banner = server.get("/").json()
        assert banner["text"]["loaded"]
        assert banner["image"]["loaded"]
        texts, images = client.vectorize(["a fox"], [FOX])
        assert (len(texts), len(images)) == (1, 1)


def test_its_wait_says_that_a_model_cannot_be_had(tmp_path: Path) -> None:
    with serve(
        tmp_path, CLIP_MODEL="mclip", CLIP_ENGINE="onnx", CLIP_WEIGHTS_DIR=str(tmp_path)
    ) as server:
        with pytest.raises(TimeoutError, match="status 503"):
            Client(server.url).wait_for_startup(timeout_s=2)
        assert server.get("/.well-known/live").status_code == 204
        with pytest.raises(VectorizeError, match=r"fail with status 503: .*mclip"):
            Client(server.url).vectorize(["a fox"], [])


def test_an_objects_texts_and_images_get_the_native_vectors_in_order(demo: Server) -> None:
    texts, images = native(demo, ["a fox", "a pizza"], [FOX, PIZZA])
    text_vectors, image_vectors = Client(demo.url).vectorize(["a fox", "a pizza"], [FOX, PIZZA])
    for given, expected in zip([*text_vectors, *image_vectors], [*texts, *images], strict=True):
        assert np.dot(given, expected) == pytest.approx(1, abs=1e-6)


def test_identical_images_of_a_batch_get_identical_vectors(demo: Server) -> None:
    _, vectors = Client(demo.url).vectorize([], [FOX, PIZZA, FOX, FOX])
    assert vectors[0] == vectors[2] == vectors[3] != vectors[1]
    texts, _ = Client(demo.url).vectorize(["a fox", "a pizza", "a fox"], [])
    assert texts[0] == texts[2] != texts[1]


@pytest.mark.parametrize("nothing", [[], None], ids=["empty", "nil"])
def test_a_query_of_one_kind_gets_one_vector_of_that_kind(
    demo: Server, nothing: list[str] | None
) -> None:
    client = Client(demo.url)
    texts, images = client.vectorize(["a fox"], nothing)
    assert (len(texts), images) == (1, [])
    texts, images = client.vectorize(nothing, [FOX])
    assert (texts, len(images)) == ([], 1)
    assert client.vectorize(nothing, nothing) == ([], [])


def test_meta_is_an_object_that_names_the_model(demo: Server) -> None:
    meta = Client(demo.url).meta()
    assert (meta["model"], meta["dimensions"]) == ("demo", 256)


def test_a_failed_image_is_an_error_that_names_its_place(demo: Server) -> None:
    with pytest.raises(VectorizeError, match=r"fail with status 422: images\[1\]: .*not_an_image"):
        Client(demo.url).vectorize(["a fox"], [FOX, "AAAA"])
    with pytest.raises(VectorizeError, match="fail with status 400: images"):
        Client(demo.url).vectorize([], [""])
