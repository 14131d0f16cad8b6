"""LangChain's client of OpenAI's protocol."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import openai
import pytest
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr

from tests.e2e.server import Server

TEXTS = ["a fox", "a pizza", "a guitar", "a fox"]


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
    expected = demo.vectors(TEXTS)
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

    assert_same(asyncio.run(call()), demo.vectors([*TEXTS, "a pizza"]))


def test_langchain_sends_many_texts_in_pieces_of_its_own(demo: Server) -> None:
    texts = [f"a fox {number}" for number in range(25)]
    with langchain(demo, chunk_size=10) as embeddings:
        assert_same(embeddings.embed_documents(texts), demo.vectors(texts))


def test_langchain_passes_dimensions_on_and_hears_that_they_cannot_be_cut(demo: Server) -> None:
    with langchain(demo, dimensions=256) as embeddings:
        assert len(embeddings.embed_query("a fox")) == 256
    with (
        langchain(demo, dimensions=128) as embeddings,
        pytest.raises(openai.BadRequestError, match="the model has 256"),
    ):
        embeddings.embed_query("a fox")
