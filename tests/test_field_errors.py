"""Every error that a request model can raise has a sentence of ours."""

from collections.abc import Iterator
from typing import Any

import pytest

from common.items import ImageBytes
from functions.bigquery import RemoteRequest
from functions.cohere import EmbedRequest
from functions.content import ContentInput, ImageUrlPart, PairInput, TextPart
from functions.errors import InvalidRequest
from functions.field_errors import SENTENCES, validate
from functions.image import ImageForm, ImageRequest
from functions.immich import Entries, PredictRequest
from functions.listed import ItemsRequest
from functions.mixed import MixedRequest
from functions.ollama import OllamaRequest
from functions.openai_requests import EmbeddingsRequest, ImagesRequest
from functions.rank import RankRequest
from functions.schemas import Request
from functions.tei import TeiRequest
from functions.text import TextRequest
from functions.voyage import MultimodalRequest
from functions.weaviate import VectorizeRequest
from tests.spoken import ROUTES

MODELS: list[type[Request]] = [*(route.body.model for route in ROUTES if route.body), ImageForm]
RAISED_BY = {  # a node of a core schema → the types of error that it alone can raise
    "str": {"string_type", "string_unicode"},
    "bool": {"bool_type"},
    "dict": {"dict_type"},
    "none": {"none_required"},
    "int": {"int_type"},
    "float": {"float_type", "finite_number"},
    "list": {"list_type"},
    "literal": {"literal_error"},
    "model": {"model_type"},
    "tagged-union": {"union_tag_invalid", "union_tag_not_found", "model_attributes_type"},
    "model-fields": {"missing"},  # and extra_forbidden, whose sentence names the fields
    "function-before": {"value_error"},
    "function-after": {"value_error"},
    "function-plain": {"value_error"},
}
RAISED_BY_LIMIT = {
    ("str", "min_length"): "string_too_short",
    ("str", "max_length"): "string_too_long",
    ("list", "min_length"): "too_short",
    ("list", "max_length"): "too_long",
    ("int", "ge"): "greater_than_equal",
    ("int", "le"): "less_than_equal",
    ("float", "ge"): "greater_than_equal",
    ("float", "le"): "less_than_equal",
}
UNCHECKED = {"metadata", "serialization", "function", "json_schema_input_schema"}
# Read inside a field, so the core schema of the request does not show them.
INNER: list[type[Request]] = [PairInput, TextPart, ImageUrlPart, ContentInput, Entries]
HARMLESS = {"default", "nullable", "any", "model-field", "definitions", "definition-ref"}
HARMLESS |= {"dataclass", "dataclass-args", "dataclass-field"}  # made by our own validators
LIMITS = {"min_length", "max_length", "ge", "gt", "le", "lt", "multiple_of", "pattern"}
FOX, QUERY = {"text": "a fox"}, {"query": {"text": "a fox"}}


def weighted(weight: object) -> dict[str, Any]:
    """An item whose text has this weight."""
    return {**FOX, "url": "a", "weights": {"text": weight, "image": 1}}


def content(part: object) -> dict[str, Any]:
    """A request of Cohere's with this content part."""
    return {"inputs": [{"content": [part]}]}


CASES: list[tuple[str, type[Request], dict[str, Any], str]] = [
    ("missing", TextRequest, {}, "texts is required"),
    ("string_type", TextRequest, {"texts": [3]}, "texts[0] is a number, expected a string"),
    ("string_type", TextRequest, {"texts": [None]}, "texts[0] is null, expected a string"),
    (
        "string_unicode",
        TextRequest,
        {"texts": ["\ud83d"]},
        "texts[0] contains half of a surrogate pair",
    ),
    ("string_too_short", ImageRequest, {"urls": [" "]}, "urls[0] is an empty string"),
    (
        "string_too_long",
        TextRequest,
        {"texts": ["a" * 100_001]},
        "texts[0] has 100,001 characters, the limit is 100,000",
    ),
    ("list_type", TextRequest, {"texts": "a"}, "texts is a string, expected a list"),
    ("too_short", TextRequest, {"texts": []}, "texts is empty, at least one item is required"),
    ("too_long", MixedRequest, {"urls": ["a"] * 257}, "urls has 257 items, the limit is 256"),
    (
        "bool_type",
        TeiRequest,
        {"inputs": "a", "truncate": 1},
        "truncate is a number, expected true or false",
    ),
    (
        "dict_type",
        OllamaRequest,
        {"model": "a", "input": "a", "options": []},
        "options is a list, expected an object",
    ),
    (
        "none_required",
        TeiRequest,
        {"inputs": "a", "prompt_name": "query"},
        'prompt_name is "query", expected null',
    ),
    (
        "int_type",
        EmbeddingsRequest,
        {"input": "a", "dimensions": "256"},
        'dimensions is the string "256", expected a whole number without quotes',
    ),
    (
        "int_type",
        RankRequest,
        {**QUERY, "candidates": [FOX], "top_k": True},
        "top_k is a boolean, expected a whole number",
    ),
    (
        "int_type",
        EmbeddingsRequest,
        {"input": "a", "dimensions": 2.5},
        "dimensions is 2.5, expected a whole number",
    ),
    (
        "float_type",
        ItemsRequest,
        {"items": [weighted("1")]},
        "items[0].weights.text is a string, expected a number",
    ),
    (
        "finite_number",
        ItemsRequest,
        {"items": [weighted(float("inf"))]},
        "items[0].weights.text is inf, expected a finite number",
    ),
    (
        "less_than_equal",
        ItemsRequest,
        {"items": [weighted(1e9)]},
        "items[0].weights.text is 1000000000.0, the maximum is 1,000,000",
    ),
    (
        "greater_than_equal",
        RankRequest,
        {**QUERY, "candidates": [FOX], "top_k": 0},
        "top_k is 0, the minimum is 1",
    ),
    (
        "literal_error",
        TextRequest,
        {"texts": ["a"], "encoding_format": 1},
        "encoding_format is a number, expected 'float' or 'base64'",
    ),
    (
        "literal_error",
        EmbeddingsRequest,
        {"input": "a", "normalized": False},
        "normalized is false, expected true",
    ),
    (
        "model_type",
        RankRequest,
        {**QUERY, "candidates": ["a fox"]},
        "candidates[0] is a string, expected an object",
    ),
    (
        "model_attributes_type",
        EmbedRequest,
        content("a fox"),
        "inputs[0].content[0] is a string, expected an object",
    ),
    (
        "union_tag_not_found",
        EmbedRequest,
        content(FOX),
        "inputs[0].content[0] has no 'type'",
    ),
    (
        "union_tag_invalid",
        EmbedRequest,
        content({"type": "audio", "audio": "a"}),
        "inputs[0].content[0] has \"audio\" as its 'type', expected 'text' or 'image_url'",
    ),
    (
        "missing",
        EmbedRequest,
        content({"type": "image_url", "image_url": {}}),
        "inputs[0].content[0].image_url.url is required",
    ),
    (
        "string_type",
        EmbedRequest,
        content({"type": "text", "text": 3}),
        "inputs[0].content[0].text is a number, expected a string",
    ),
    (
        "value_error",
        EmbeddingsRequest,
        {"input": ["a", {"type": "image_url", "image_url": {"uri": "a"}}]},
        "input item 1 is wrong: image_url.url is required;"
        " image_url.uri is not a known field; the fields are url, detail",
    ),
    (
        "value_error",
        EmbeddingsRequest,
        {"input": {"content": [{"type": "text"}]}},
        "input is wrong: content[0].text is required",
    ),
    (
        "value_error",
        RankRequest,
        {"query": {}, "candidates": [FOX]},
        "query has neither text nor url, or both: give exactly one of them",
    ),
    (
        "value_error",
        EmbeddingsRequest,
        {"input": ["a", [1, 2]]},
        "input item 1 holds token ids, which belong to another model's tokenizer; send strings"
        " (LangChain's OpenAIEmbeddings does with check_embedding_ctx_length=False)",
    ),
]


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every node of a core schema."""
    if isinstance(schema, dict):
        # A dataclass is written and never read.
        if schema.get("type") == "dataclass":
            return
        if isinstance(schema.get("type"), str):
            yield schema
        for name, part in schema.items():
            if name not in UNCHECKED:
                yield from nodes(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from nodes(part)


@pytest.mark.parametrize("model", [*MODELS, *INNER])
def test_every_error_that_a_model_can_raise_has_a_sentence(model: type[Request]) -> None:
    for node in nodes(model.__pydantic_core_schema__):
        kind = node["type"]
        assert kind in RAISED_BY or kind in HARMLESS, f"what can a {kind} raise?"
        possible = set(RAISED_BY.get(kind, ()))
        for limit in LIMITS & node.keys():
            possible.add(RAISED_BY_LIMIT[kind, limit])
        assert possible <= SENTENCES.keys()


@pytest.mark.parametrize(("kind", "model", "value", "words"), CASES)
def test_each_sentence_says_what_is_wrong_and_what_is_expected(
    kind: str, model: type[Request], value: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        validate(value, model)
    assert str(raised.value) == words
    cause = raised.value.__cause__
    assert kind in [error["type"] for error in cause.errors()]  # type: ignore[union-attr]


def test_no_sentence_is_without_its_case() -> None:
    assert {kind for kind, *_ in CASES} == set(SENTENCES)


@pytest.mark.parametrize(
    ("model", "value", "words"),
    [
        (
            RemoteRequest,
            {"calls": [], "userDefinedContext": {"colour": "red"}},
            "userDefinedContext.colour is not a known field;"
            " the fields are input, encoding, on_error",
        ),
        (
            RankRequest,
            {"query": {"text": "a", "image": "b"}, "candidates": [{"text": "a"}]},
            "query.image is not a known field; the fields are text, url",
        ),
        (
            RankRequest,
            {"query": {"text": "a"}, "candidates": [{"text": "a"}, {"txt": "a", "text": "b"}]},
            "candidates[1].txt is not a known field; the fields are text, url",
        ),
    ],
)
def test_an_unknown_field_is_told_the_fields_of_its_own_object(
    model: type[Request], value: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        validate(value, model)
    assert str(raised.value) == words


def optional_fields() -> list[tuple[type[Request], str]]:
    """Every optional field of every request model, and those of what they hold."""
    return [
        (model, field.alias or name)
        for model in MODELS
        for name, field in model.model_fields.items()
        if not field.is_required()
    ]


VALID: dict[type[Request], dict[str, Any]] = {
    TextRequest: {"texts": ["a"]},
    ImageRequest: {"urls": ["a"]},
    ImageForm: {"urls": ["a"], "files": [ImageBytes(b"a", "a.png")]},
    RankRequest: {"query": {"text": "a", "url": None}, "candidates": [{"url": "b", "text": None}]},
    EmbeddingsRequest: {"input": ["a", {"image": "b", "text": None}]},
    VectorizeRequest: {},
    RemoteRequest: {"calls": []},
    ItemsRequest: {"items": [FOX]},
    ImagesRequest: {"input": "a"},
    EmbedRequest: {"texts": ["a"]},
    OllamaRequest: {"model": "a", "input": "a"},
    TeiRequest: {"inputs": "a"},
    MultimodalRequest: {"inputs": [{"content": [{"type": "text", "text": "a"}]}]},
    PredictRequest: {"entries": "{}"},
}
# What is valid in place of a field that is optional because another one may stand for it.
MESSAGES = {"messages": [{"role": "user", "content": "a"}]}
OTHERS: dict[tuple[type[Request], str], dict[str, Any]] = {
    (EmbedRequest, "texts"): {"images": ["a"]},
    (EmbeddingsRequest, "input"): MESSAGES,
    (ImagesRequest, "input"): MESSAGES,
}


@pytest.mark.parametrize(("model", "name"), optional_fields())
def test_null_means_absent_for_every_optional_field(model: type[Request], name: str) -> None:
    valid = VALID.get(model, {"texts": ["a"], "urls": ["b"]})
    valid = OTHERS.get((model, name), valid)
    absent = {key: value for key, value in valid.items() if key != name}
    assert validate(absent | {name: None}, model) == validate(absent, model)


def test_null_in_the_context_of_a_remote_function_means_absent() -> None:
    context = {"input": None, "encoding": "base64", "on_error": None}
    read = validate({"calls": [], "userDefinedContext": context}, RemoteRequest)
    assert (read.context.input, read.context.encoding) == ("text", "base64")


def test_a_whole_number_may_be_written_with_a_point() -> None:
    read = validate({"input": "a", "dimensions": 256.0}, EmbeddingsRequest)
    assert (read.dimensions, type(read.dimensions)) == (256, int)
