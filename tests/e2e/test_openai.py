"""OpenAI's protocol, through OpenAI's own client."""

import asyncio
import base64
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
from numpy.typing import NDArray

from export.emoji import picture_of
from tests.e2e.openai_client import client_of
from tests.e2e.server import Server
from tests.image_server import ImageServer
from tests.image_urls import PIZZA

FOX = base64.b64encode(picture_of("fox")).decode()


def vector_of(given: Any) -> NDArray[np.floating[Any]]:
    """The client leaves base64 as it is where its caller asked for it."""
    return (
        np.frombuffer(base64.b64decode(given), "<f4") if isinstance(given, str) else np.array(given)
    )


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_its_client_gets_the_native_routes_vectors(demo: Server, encoding: str | None) -> None:
    texts = ["a fox", "a pizza"]
    options = {"encoding_format": encoding} if encoding else {}
    with client_of(demo) as client:
        answer = client.embeddings.create(model="demo", input=texts, **options)  # type: ignore[arg-type]
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.model == "demo"
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 8
    for item, expected in zip(answer.data, demo.vectors(texts), strict=True):
        assert vector_of(item.embedding) @ np.array(expected) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_its_asynchronous_client_works_too(demo: Server, encoding: str | None) -> None:
    options: Any = {"encoding_format": encoding} if encoding else {}

    async def call() -> openai.types.CreateEmbeddingResponse:
        async with openai.AsyncOpenAI(base_url=demo.url + "/v1", api_key="any") as client:
            inputs = {"input": ["a fox", {"image": PIZZA}]}
            return await client.embeddings.create(
                model="demo", input="", extra_body=inputs, **options
            )

    answer = asyncio.run(call())
    for item, expected in zip(answer.data, demo.vectors(["a fox"], [PIZZA]), strict=True):
        assert vector_of(item.embedding) @ np.array(expected) == pytest.approx(1, abs=1e-6)


def test_its_asynchronous_client_raises_the_same_errors(demo: Server) -> None:
    async def call(**body: object) -> None:
        async with openai.AsyncOpenAI(base_url=demo.url + "/v1", api_key="any") as client:
            await client.embeddings.create(model="demo", input="", extra_body=body)

    with pytest.raises(openai.BadRequestError, match="token ids"):
        asyncio.run(call(input=[[1, 2]]))
    with pytest.raises(openai.UnprocessableEntityError) as raised:
        asyncio.run(call(input=["a fox", {"image": "http://10.0.0.1/a.png"}]))
    assert raised.value.param == "input[1]"


@pytest.mark.parametrize("prefix", ["/v1", ""])
def test_it_works_with_and_without_v1(demo: Server, prefix: str) -> None:
    with openai.OpenAI(base_url=demo.url + prefix, api_key="any") as client:
        (item,) = client.embeddings.create(model="demo", input="a fox").data
        assert np.dot(item.embedding, demo.vectors(["a fox"])[0]) == pytest.approx(1, abs=1e-6)
        assert [card.id for card in client.models.list()] == ["demo"]
        assert client.models.retrieve("demo").id == "demo"


def test_its_client_for_azure_names_the_model_in_the_path(demo: Server) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=demo.url, api_version="2024-10-21", api_key="any"
    ) as client:
        (item,) = client.embeddings.create(model="demo", input="a fox").data
        assert np.dot(item.embedding, demo.vectors(["a fox"])[0]) == pytest.approx(1, abs=1e-6)
        with pytest.raises(openai.NotFoundError, match="'ada' is not served here"):
            client.embeddings.create(model="ada", input="a fox")


def test_texts_urls_data_urls_and_bare_base64_keep_their_order(
    demo: Server, image_server: ImageServer
) -> None:
    url = image_server.serve("/pizza.png", picture_of("pizza"))
    inputs = ["a fox", {"image": url}, {"text": "a pizza"}, {"image": PIZZA}, {"image": FOX}]
    with client_of(demo) as client:
        answer = client.embeddings.create(model="demo", input="", extra_body={"input": inputs})
    assert [item.index for item in answer.data] == list(range(5))
    fox, pizza_text, pizza, fox_picture = demo.vectors(
        ["a fox", "a pizza"], [url, "data:;base64," + FOX]
    )
    for item, expected in zip(
        answer.data, [fox, pizza, pizza_text, pizza, fox_picture], strict=True
    ):
        assert np.dot(item.embedding, expected) == pytest.approx(1, abs=1e-6)
    assert answer.usage.prompt_tokens == 8, "tokens of the two texts; a picture has none"


def test_a_failing_image_is_an_error_with_its_index(demo: Server) -> None:
    inputs = ["a fox", {"image": "http://10.0.0.1/a.png"}, {"image": PIZZA}]
    with client_of(demo) as client, pytest.raises(openai.UnprocessableEntityError) as raised:
        client.embeddings.create(model="demo", input="", extra_body={"input": inputs})
    assert raised.value.param == "input[1]"
    assert raised.value.code == "image_failed"
    assert "blocked_url" in raised.value.message


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (
            {"input": [[1, 2]]},
            "input",
            "token ids, which belong to another model's tokenizer; send strings",
        ),
        ({"input": [1, 2]}, "input", "send strings"),
        ({"input": []}, "input", "limits are 1 and"),
        (
            {"input": "a", "dimensions": 128},
            "dimensions",
            "dimensions is 128, but the model has 256: CLIP is not Matryoshka",
        ),
        ({"input": {"image": ""}}, "input[0]", "empty"),
        ({"input": ["a" * 100_001]}, "input[0]", "100,001 characters"),
        ({"input": [None]}, "input", "neither a string"),
        ({"input": "a", "encoding": "float"}, "encoding", "not a known field"),
        ({}, "", "input is required, or messages"),
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


def test_models_are_listed_and_found_by_every_name(configured: Server) -> None:
    with client_of(configured) as client:
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
        assert configured.get("/models/demo").json()["id"] == "demo"
