"""POST /v1/embeddings and GET /v1/models, as OpenAI's clients know them.

Images may be sent as infinity's clients send them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import PlainValidator

from common.encoding import Row, encode
from common.errors import FieldError, ImagesFailed, InvalidRequest, ModelNotFound
from common.images.url_policy import as_url
from common.models.model import Model
from common.version import SERVICE
from functions.call import Call
from functions.envelopes import Envelope, code_of, message_of
from functions.examples import FOX, FOX_SIGNS, SIGNS, TEXT_SIGNS, Example
from functions.responses import status_of
from functions.route import IMAGE_ERRORS, Answer, Body, Protocol, Route
from functions.schemas import (
    MAX_IMAGES,
    MAX_TEXT_CHARS,
    MAX_TEXTS,
    EmbeddingRequest,
    Item,
    Request,
    WholeNumber,
    checked_counts,
)

ERROR_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}
# A data: URL of an image, told from a text that only speaks of one.
_IMAGE_DATA = re.compile(r"\s*data:image/[\w.+-]+(?:\s*;[^,]*,|,\S)", re.IGNORECASE)
UNSPECIFIED_MODEL = (
    "default/not-specified"  # what infinity's client sends where its caller named none
)


Kind = Literal["text", "image"]
_KINDS: tuple[Kind, ...] = ("text", "image")


@dataclass(frozen=True)
class Input:
    """One input; a plain string's `kind` is None: the request's modality tells."""

    value: str
    kind: Kind | None = None


def _read_inputs(value: object) -> list[Input]:
    """A string, `{"text": …}` or `{"image": URL, data: URL or bare base64}`, or a list of them."""
    parts = value if isinstance(value, list) else [value]
    if not 1 <= len(parts) <= MAX_TEXTS + MAX_IMAGES:
        raise ValueError(
            f"has {len(parts):,} items, the limits are 1 and {MAX_TEXTS + MAX_IMAGES:,}"
        )
    return [
        _read_input(f"item {index}" if parts is value else "", part)
        for index, part in enumerate(parts)
    ]


def _read_input(place: str, part: object) -> Input:
    if isinstance(part, str):
        return Input(part)
    if isinstance(part, dict):
        given = {kind: value for kind, value in part.items() if value is not None}
        for kind in _KINDS:
            if given.keys() == {kind} and isinstance(given[kind], str):
                return Input(given[kind], kind)
    if isinstance(part, int | list) and not isinstance(part, bool):
        fault = "holds token ids, which belong to another model's tokenizer; send strings"
    else:
        fault = 'is neither a string nor {"text": "…"} nor {"image": "…"}'
    raise ValueError(f"{place} {fault}".strip())


class _TextInput(Request):
    text: str


class _ImageInput(Request):
    image: str


_Inputs = str | list[str | _TextInput | _ImageInput]  # as the OpenAPI document tells it


class EmbeddingsRequest(EmbeddingRequest):
    """`modality` image: plain strings are images. `user` is not read.

    `dimensions` must be the model's own, or 0, which infinity's client sends where its caller asked for none.
    """

    input: Annotated[list[Input], PlainValidator(_read_inputs, json_schema_input_type=_Inputs)]
    model: str | None = None
    modality: Kind = "text"
    dimensions: WholeNumber | None = None
    user: str | None = None

    def items(self) -> list[Item]:
        """The inputs in order.

        Raises InvalidRequest for a text that is too long, or an image that is empty.
        """
        return [
            self._item(index, part.value, part.kind or self._kind_of(part.value))
            for index, part in enumerate(self.input)
        ]

    def _kind_of(self, value: str) -> str:
        """What a plain string is: as `modality` says, or an image if it is a data: URL of one."""
        is_left_open = "modality" not in self.model_fields_set
        return "image" if is_left_open and _IMAGE_DATA.match(value) else self.modality

    def _item(self, index: int, value: str, kind: str) -> Item:
        if kind == "text" and len(value) > MAX_TEXT_CHARS:
            fault = FieldError(
                ("input", index), f"has {len(value):,} characters, the limit is {MAX_TEXT_CHARS:,}"
            )
        elif kind == "image" and not value.strip():
            fault = FieldError(("input", index), "is an empty string")
        else:
            return Item(text=value) if kind == "text" else Item(url=as_url(value))
        raise InvalidRequest(f"{fault.path} {fault.message}", [fault])


@dataclass(frozen=True)
class Embedding:
    """One vector: numbers, or base64."""

    index: int
    embedding: Row
    object: str = "embedding"


@dataclass(frozen=True)
class Usage:
    """Tokens that were read of the texts."""

    prompt_tokens: int
    total_tokens: int


@dataclass(frozen=True)
class EmbeddingsResponse:
    """Vectors in the order of the inputs."""

    data: Sequence[Embedding]
    model: str
    usage: Usage
    object: str = "list"


@dataclass(frozen=True)
class ModelCard:
    """The served model."""

    id: str
    full_name: str
    dimensions: int | None
    fingerprint: str | None
    object: str = "model"
    created: int = 0
    owned_by: str = SERVICE


@dataclass(frozen=True)
class ModelsResponse:
    """All that are served: one."""

    data: Sequence[ModelCard] = field(default_factory=list)
    object: str = "list"


def embeddings(body: EmbeddingsRequest, call: Call) -> EmbeddingsResponse:
    """Vectors of texts and images, mixed as they come.

    Raises ImagesFailed: the shape has no place for one failure.
    """
    items = body.items()
    if body.model not in (None, UNSPECIFIED_MODEL):
        _check_model(body.model, call)
    _check_dimensions(body.dimensions, call.model.dimensions)
    checked_counts(items)
    embedded = call.embed([item.read() for item in items])
    _check_dimensions(body.dimensions, call.model.dimensions)  # now it is known of every model
    if embedded.errors:
        first = embedded.errors[0]
        raise ImagesFailed(
            f"input[{first.index}]: {first.detail} ({first.code})", embedded.errors, field="input"
        )
    rows = encode(embedded.vectors, body.encoding_format, body.output_dtype)
    data = [Embedding(index, row) for index, row in enumerate(rows)]
    return EmbeddingsResponse(data, call.model.spec.id, Usage(embedded.tokens, embedded.tokens))


def _check_dimensions(asked: int | None, own: int | None) -> None:
    if own and asked not in (None, 0, own):
        why = "CLIP is not Matryoshka-trained, so its vectors cannot be cut"
        fault = FieldError(("dimensions",), f"is {asked:,}, and the model has {own}: {why}")
        raise InvalidRequest(f"{fault.path} {fault.message}", [fault])


def models(call: Call) -> ModelsResponse:
    """The served model, as a list."""
    return ModelsResponse([_card(call.model)])


def model(call: Call, id: str) -> ModelCard:
    """The served model by any of its names. Raises ModelNotFound."""
    _check_model(id, call)
    return _card(call.model)


def _card(served: Model) -> ModelCard:
    return ModelCard(served.spec.id, served.spec.full_name, served.dimensions, served.fingerprint)


def _check_model(name: str, call: Call) -> None:
    served = call.model
    if name not in (served.spec.id, served.spec.full_name, *call.settings.model_aliases):
        raise ModelNotFound(f"the model {name[:100]!r} is not served here; {served.spec.id!r} is")


@dataclass(frozen=True)
class OpenAIFault:
    """`param` is the path to what is wrong."""

    message: str
    type: str
    param: str | None
    code: str


@dataclass(frozen=True)
class OpenAIError:
    """The shape of OpenAI's errors."""

    error: OpenAIFault


def _error_of(error: BaseException) -> OpenAIError:
    kind = ERROR_TYPES.get(HTTPStatus(status_of(error)))
    if kind is None:
        is_ours = status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR
        kind = "server_error" if is_ours else "invalid_request_error"
    param = None
    if isinstance(error, ImagesFailed):
        param = FieldError(error.locs[0], "").path
    elif isinstance(error, InvalidRequest) and error.errors:
        param = error.errors[0].path
    return OpenAIError(OpenAIFault(message_of(error), kind, param, code_of(error)))


EXAMPLES = {
    "a text": Example({"input": "a fox", "model": "demo"}),
    "a text and a picture": Example(
        {"input": ["a fox", {"image": FOX}], **SIGNS},
        {
            "data": [
                {"index": 0, "embedding": TEXT_SIGNS, "object": "embedding"},
                {"index": 1, "embedding": FOX_SIGNS, "object": "embedding"},
            ],
            "model": "demo",
            "usage": {"prompt_tokens": 4, "total_tokens": 4},
            "object": "list",
        },
    ),
    "pictures as plain strings": Example({"input": [FOX], "modality": "image"}),
}
PROTOCOL = Protocol(
    tag="OpenAI",
    description="The embeddings API of OpenAI's clients, with images.",
    envelope=Envelope(OpenAIError, _error_of),
    routes=(
        Route(
            "POST",
            "/v1/embeddings",
            embeddings,
            Answer(EmbeddingsResponse, "The vectors."),
            Body(EmbeddingsRequest),
            raises=(*IMAGE_ERRORS, ModelNotFound),
            examples=EXAMPLES,
            aliases=("/embeddings",),
        ),
        Route(
            "GET",
            "/v1/models",
            models,
            Answer(ModelsResponse, "The served model."),
            aliases=("/models",),
        ),
        Route(
            "GET",
            "/v1/models/{id}",
            model,
            Answer(ModelCard, "The served model."),
            raises=(ModelNotFound,),
            aliases=("/models/{id}",),
        ),
    ),
)
