"""OpenAI's shape, through OpenAI's own client."""

import asyncio
import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest

from common.models.export.emoji import picture_of
from tests.e2e.server import Server, serve
from tests.image_server import ImageServer

FOX = base64.b64encode(picture_of("fox")).decode()
PIZZA = "data:image/png;base64," + base64.b64encode(picture_of("pizza")).decode()


@contextmanager
def client_of(server: Server, key: str = "any", **options: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url + "/v1", api_key=key, **options) as client:
        yield client


def native(server: Server, texts: list[str], urls: list[str]) -> list[list[float]]:
    body = server.post("/embed/mixed", {"texts": texts, "urls": urls}).json()
    return [*body["text_embeddings"], *body["image_embeddings"]]


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_its_client_gets_the_native_routes_vectors(demo: Server, encoding: str | None) -> None:
    texts = ["a fox", "a pizza"]
    options = {"encoding_format": encoding} if encoding else {}
    with client_of(demo) as client:
        answer = client.embeddings.create(model="demo", input=texts, **options)  # type: ignore[arg-type]
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.model == "demo"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 8
    for item, expected in zip(answer.data, native(demo, texts, []), strict=True):
        given: Any = item.embedding
        vector = np.frombuffer(base64.b64decode(given), "<f4") if isinstance(given, str) else np.array(given)
        assert vector @ np.array(expected) == pytest.approx(1, abs=1e-6)


def test_its_asynchronous_client_works_too(demo: Server) -> None:
    async def call() -> openai.types.CreateEmbeddingResponse:
        async with openai.AsyncOpenAI(base_url=demo.url + "/v1", api_key="any") as client:
            return await client.embeddings.create(model="demo", input="a fox")

    (item,) = asyncio.run(call()).data
    assert np.array(item.embedding) @ np.array(native(demo, ["a fox"], [])[0]) == pytest.approx(1, abs=1e-6)


def test_texts_urls_data_urls_and_bare_base64_keep_their_order(demo: Server, image_server: ImageServer) -> None:
    url = image_server.serve("/pizza.png", picture_of("pizza"))
    inputs = ["a fox", {"image": url}, {"text": "a pizza"}, {"image": PIZZA}, {"image": FOX}]
    body = demo.post("/v1/embeddings", {"model": "demo", "input": inputs}).json()
    vectors = [item["embedding"] for item in body["data"]]
    fox, pizza_text, pizza, fox_picture = native(demo, ["a fox", "a pizza"], [url, "data:;base64," + FOX])
    for vector, expected in zip(vectors, [fox, pizza, pizza_text, pizza, fox_picture], strict=True):
        assert np.dot(vector, expected) == pytest.approx(1, abs=1e-6)


def test_modality_image_makes_images_of_plain_strings(demo: Server) -> None:
    """As infinity's clients send them."""
    body = demo.post("/embeddings", {"model": "demo", "input": [PIZZA, FOX], "modality": "image"}).json()
    expected = native(demo, [], [PIZZA, "data:;base64," + FOX])
    assert [item["embedding"] for item in body["data"]] == [pytest.approx(row, abs=1e-6) for row in expected]


def test_a_failing_image_is_an_error_with_its_index(demo: Server) -> None:
    body = {"input": ["a fox", {"image": "http://10.0.0.1/a.png"}]}
    with client_of(demo) as client, pytest.raises(openai.UnprocessableEntityError) as raised:
        client.post("/embeddings", cast_to=httpx2.Response, body=body)
    assert raised.value.param == "input[1]"
    assert raised.value.code == "image_failed"
    assert "blocked_url" in raised.value.message


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"input": [[1, 2]]}, "input", "token ids"),
        ({"input": [1, 2]}, "input", "token ids"),
        ({"input": []}, "input", "limits are 1 and"),
        ({"input": "a", "dimensions": 128}, None, "not Matryoshka-trained"),
        ({"input": {"image": ""}}, "input[0]", "empty"),
        ({"input": ["a" * 100_001]}, "input[0]", "100,001 characters"),
        ({"input": [None]}, "input", "neither a string"),
        ({"input": "a", "encoding": "float"}, "encoding", "not a field"),
        ({}, "input", "required"),
    ],
)
def test_bad_requests_are_its_bad_request_error(
    demo: Server, body: dict[str, object], param: str | None, words: str
) -> None:
    with client_of(demo) as client, pytest.raises(openai.BadRequestError) as raised:
        client.post("/embeddings", cast_to=httpx2.Response, body=body)
    assert raised.value.param == param
    assert raised.value.type == "invalid_request_error"
    assert words in raised.value.message


def test_the_models_own_dimensions_are_accepted(demo: Server) -> None:
    with client_of(demo) as client:
        assert client.embeddings.create(model="demo", input="a", dimensions=256).data


def test_models_are_listed_and_found_by_every_name(tmp_path: Path) -> None:
    aliases = "text-embedding-3-small, org/other"
    with serve(tmp_path, CLIP_MODEL_ALIASES=aliases) as server, client_of(server) as client:
        (card,) = client.models.list().data
        assert (card.id, card.object) == ("demo", "model")
        for name in ("demo", "text-embedding-3-small", "org/other"):
            assert client.models.retrieve(name).id == "demo"
            assert client.embeddings.create(model=name, input="a fox").model == "demo"
        with pytest.raises(openai.NotFoundError) as raised:
            client.embeddings.create(model="gpt-4", input="a")
        assert raised.value.code == "model_not_found"
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("gpt-4")
        assert server.get("/models/demo").json()["id"] == "demo"


def test_a_wrong_key_is_its_authentication_error_and_the_right_one_passes(tmp_path: Path) -> None:
    with serve(tmp_path, CLIP_API_KEYS="first-key, second-key") as server:
        for key in ("first-key", "second-key"):
            with client_of(server, key) as client:
                assert client.embeddings.create(model="demo", input="a fox").data
        with client_of(server) as client, pytest.raises(openai.AuthenticationError) as raised:
            client.embeddings.create(model="demo", input="a fox")
        assert raised.value.code == "unauthorized"
        problem = server.post("/embed/text", {"texts": ["a"]})
        assert (problem.status_code, problem.json()["code"]) == (401, "unauthorized")
        assert problem.headers["WWW-Authenticate"] == "Bearer"
        assert "error" in server.post("/vectorize", {"texts": ["a"]}).json()
        assert "errorMessage" in server.post("/bigquery", {"calls": [["a"]]}).json()
        for headers in ({"X-API-Key": "second-key"}, {"Authorization": "bearer first-key"}):
            assert server.post("/embed/text", {"texts": ["a"]}, headers=headers).status_code == 200
        for headers in ({"X-API-Key": "first"}, {"Authorization": "Basic first-key"}, {"X-API-Key": "é"}):
            latin = {name: value.encode("utf-8").decode("latin-1") for name, value in headers.items()}
            assert server.post("/embed/text", {"texts": ["a"]}, headers=latin).status_code == 401
        for path in ("/health/live", "/.well-known/live", "/"):
            assert server.get(path).status_code < 300
        assert server.get("/health").status_code in (200, 503)


def test_its_client_comes_back_after_429_and_503(tmp_path: Path, image_server: ImageServer) -> None:
    """The queue is held by a gated picture; the client retries as long as Retry-After says, then it is free."""
    with serve(tmp_path, CLIP_MAX_QUEUE_ITEMS="1", CLIP_HEALTH_WAIT_S="60") as server:
        assert server.get("/health").json()["status"] == "healthy"
        statuses = []

        class Transport(httpx2.HTTPTransport):
            def handle_request(self, request: httpx2.Request) -> httpx2.Response:
                response = super().handle_request(request)
                statuses.append(response.status_code)
                if response.status_code == 429:
                    image_server.gate.set()
                return response

        held = threading.Thread(
            target=server.post, args=("/embed/image", {"urls": [image_server.url + "/gated"]}), daemon=True
        )
        held.start()
        assert image_server.seen("/gated")
        with client_of(server, http_client=httpx2.Client(transport=Transport()), max_retries=5) as client:
            answer = client.post("/embeddings", cast_to=httpx2.Response, body={"input": {"image": PIZZA}})
        held.join()
        assert answer.status_code == 200
        assert statuses[0] == 429
        assert statuses[-1] == 200
