"""Other clients of OpenAI's protocol: LangChain's, and infinity's with images."""

import asyncio
import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import openai
import pytest
import requests
from langchain_openai import OpenAIEmbeddings
from PIL import Image
from pydantic import SecretStr

from export.emoji import picture_of
from tests.e2e.server import Server

TEXTS = ["a fox", "a pizza", "a guitar", "a fox"]


def jpeg_url(name: str) -> str:
    """An image as infinity's client sends it: JPEG, base64, in a data: URL."""
    file = io.BytesIO()
    Image.open(io.BytesIO(picture_of(name))).convert("RGB").save(file, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def native(server: Server, texts: list[str], urls: list[str]) -> list[list[float]]:
    body = server.post("/embed/mixed", {"texts": texts, "urls": urls}).json()
    return [*body["text_embeddings"], *body["image_embeddings"]]


def assert_same(given: Any, expected: list[list[float]]) -> None:
    assert len(given) == len(expected)
    for ours, theirs in zip(given, expected, strict=True):
        assert np.dot(ours, theirs) == pytest.approx(1, abs=1e-6)


@contextmanager
def langchain(server: Server, **options: Any) -> Iterator[OpenAIEmbeddings]:
    settings: Any = {"model": "demo", "base_url": server.url + "/v1", "api_key": SecretStr("any")}
    with openai.DefaultHttpxClient() as http_client:
        yield OpenAIEmbeddings(
            **settings, check_embedding_ctx_length=False, http_client=http_client, **options
        )


@pytest.mark.parametrize(
    "options", [{}, {"encoding_format": "float"}], ids=["base64, as it likes", "float"]
)
def test_langchain_gets_the_native_routes_vectors(demo: Server, options: dict[str, str]) -> None:
    expected = native(demo, TEXTS, [])
    with langchain(demo, model_kwargs=options) as embeddings:
        assert_same(embeddings.embed_documents(TEXTS), expected)
        assert_same([embeddings.embed_query("a fox")], expected[:1])


def test_langchain_gets_them_asynchronously_too(demo: Server) -> None:
    async def call() -> list[list[float]]:
        async with openai.DefaultAsyncHttpxClient() as http_client:
            with langchain(demo, http_async_client=http_client) as embeddings:
                return [
                    *await embeddings.aembed_documents(TEXTS),
                    await embeddings.aembed_query("a pizza"),
                ]

    assert_same(asyncio.run(call()), native(demo, [*TEXTS, "a pizza"], []))


def test_langchain_sends_many_texts_in_pieces_of_its_own(demo: Server) -> None:
    texts = [f"a fox {number}" for number in range(25)]
    with langchain(demo, chunk_size=10) as embeddings:
        assert_same(embeddings.embed_documents(texts), native(demo, texts, []))


def test_langchain_passes_dimensions_on_and_hears_that_they_cannot_be_cut(demo: Server) -> None:
    with langchain(demo, dimensions=256) as embeddings:
        assert len(embeddings.embed_query("a fox")) == 256
    with (
        langchain(demo, dimensions=128) as embeddings,
        pytest.raises(openai.BadRequestError, match="the model has 256"),
    ):
        embeddings.embed_query("a fox")


class InfinityVisionClient:
    """The requests of infinity_client 0.0.78's InfinityVisionAPI.

    It embeds a text first, to learn how long a vector is.
    """

    def __init__(self, url: str, model: str, encoding_format: str) -> None:
        self._url = url
        self._model = model
        self._format = encoding_format
        answer = self._post({"input": ["test"], "encoding_format": "float", "modality": "text"})
        self._dimensions = np.array(answer["data"][0]["embedding"]).shape[-1]

    def embed(self, inputs: list[str], modality: str) -> tuple[list[Any], int]:
        """Vectors and tokens; asks for the health first, as it does before each batch."""
        assert requests.get(f"{self._url}/health", timeout=60).status_code == 200
        answer = self._post(
            {"input": inputs, "encoding_format": self._format, "modality": modality}
        )
        rows = [item["embedding"] for item in answer["data"]]
        if self._format == "base64":
            rows = [
                np.frombuffer(base64.b64decode(row), np.float32).reshape(self._dimensions)
                for row in rows
            ]
        return rows, answer["usage"]["total_tokens"]

    def _post(self, body: dict[str, Any]) -> Any:
        response = requests.post(
            self._url + "/embeddings", json={"model": self._model, **body}, timeout=60
        )
        response.raise_for_status()
        return response.json()


@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_infinitys_vision_client_gets_the_native_routes_vectors(
    demo: Server, encoding: str
) -> None:
    client = InfinityVisionClient(demo.url, "demo", encoding)
    pictures = [jpeg_url("fox"), jpeg_url("pizza")]
    vectors, tokens = client.embed(pictures, "image")
    assert_same(vectors, native(demo, [], pictures))
    assert tokens == 0
    vectors, tokens = client.embed(TEXTS, "text")
    assert_same(vectors, native(demo, TEXTS, []))
    assert tokens == 16


def test_infinitys_generated_client_may_leave_model_and_dimensions_open(demo: Server) -> None:
    """It sends "default/not-specified" and 0 for them."""
    picture = jpeg_url("fox")
    body = {
        "input": [picture],
        "model": "default/not-specified",
        "dimensions": 0,
        "modality": "image",
    }
    answer = demo.post("/embeddings", body).json()
    assert (answer["object"], answer["model"], answer["data"][0]["object"]) == (
        "list",
        "demo",
        "embedding",
    )
    assert_same([answer["data"][0]["embedding"]], native(demo, [], [picture]))
