"""POST /v1/embeddings and GET /v1/models, as OpenAI's clients know them.

Images may be sent as infinity's, Jina's and multimodal callers send them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import ConfigDict, PlainValidator, model_validator

from common.encoding import Row, Rows, encode
from common.errors import FieldError, ImagesFailed, InvalidRequest, ModelNotFound
from common.images.url_policy import as_url
from common.items import ImageUrl, Item, Text
from common.joint import Joint, parts_of
from common.models.model import Model
from common.models.spec import Vectors
from common.version import SERVICE
from functions.call import Call
from functions.content import Input, Inputs, Kind, Part, read_inputs
from functions.envelopes import Envelope, code_of, message_of
from functions.examples import FOX, FOX_SIGNS, SIGNS, TEXT_SIGNS, Example
from functions.model_names import check_dimensions, check_model
from functions.request_schema import FLOAT16_AS_NUMBERS, refusing
from functions.responses import status_of
from functions.route import IMAGE_ERRORS, Answer, Body, Protocol, Route
from functions.schemas import (
    MAX_TEXT_CHARS,
    EmbeddingRequest,
    WholeNumber,
    checked_counts,
)

ERROR_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}
# A data: URL of an image, told from a text that only speaks of one.
_IMAGE_DATA = re.compile(r"\s*data:image/[\w.+-]+(?:\s*;[^,]*,|,\S)", re.IGNORECASE)
# What infinity's client sends where its caller named no model.
UNSPECIFIED_MODEL = "default/not-specified"
TYPE_FIELDS = ("embedding_type", "encoding_format", "output_dtype")

EmbeddingType = Literal["float", "base64", "binary", "ubinary"]
TASKS = Literal[  # Jina's, which choose an adapter of its models; CLIP has none to choose
    "retrieval.query", "retrieval.passage", "text-matching", "classification", "separation"
]


class EmbeddingsRequest(EmbeddingRequest):
    """`modality` image: plain strings are images. `user` is not read.

    `dimensions` must be the model's own, or 0, which infinity's client sends where its caller
    asked for none. `embedding_type` is Jina's name for how the vectors are written. `task`,
    `normalized`, `late_chunking` and `truncate` are Jina's too, with the values that are true here.
    """

    model_config = ConfigDict(
        json_schema_extra=refusing(
            FLOAT16_AS_NUMBERS,
            {
                "properties": {name: {"type": "string"} for name in TYPE_FIELDS},
                "required": ["embedding_type"],
                "anyOf": [{"required": ["encoding_format"]}, {"required": ["output_dtype"]}],
            },
        )
    )

    input: Annotated[list[Input], PlainValidator(read_inputs, json_schema_input_type=Inputs)]
    model: str | None = None
    modality: Kind = "text"
    dimensions: WholeNumber | None = None
    user: str | None = None
    embedding_type: EmbeddingType | None = None
    task: TASKS | None = None
    normalized: Literal[True] = True
    late_chunking: Literal[False] = False
    truncate: Literal[True] = True

    @model_validator(mode="after")
    def _one_way_to_write(self) -> "EmbeddingsRequest":
        given = self.model_fields_set & {"encoding_format", "output_dtype"}
        if self.embedding_type and given:
            raise ValueError(f"embedding_type and {min(given)} say the same: give one of them")
        return self

    def rows(self, vectors: Vectors) -> Rows:
        """`vectors` as the caller asked for them."""
        match self.embedding_type:
            case None:
                return encode(vectors, self.encoding_format, self.output_dtype)
            case "base64":
                return encode(vectors, "base64", "float")
            case dtype:
                return encode(vectors, "float", dtype)

    def joints(self) -> list[Joint]:
        """The inputs in order.

        Raises InvalidRequest for a text that is too long, or an image that is empty.
        """
        return [
            Joint(tuple(self._item(index, part) for part in parts))
            for index, parts in enumerate(self.input)
        ]

    def _kind_of(self, value: str) -> Kind:
        """What a plain string is: as `modality` says, or an image if it is a data: URL of one."""
        is_left_open = "modality" not in self.model_fields_set
        return "image" if is_left_open and _IMAGE_DATA.match(value) else self.modality

    def _item(self, index: int, part: Part) -> Item:
        kind, value = part.kind or self._kind_of(part.value), part.value
        if kind == "text" and len(value) > MAX_TEXT_CHARS:
            fault = FieldError(
                ("input", index), f"has {len(value):,} characters, the limit is {MAX_TEXT_CHARS:,}"
            )
        elif kind == "image" and not value.strip():
            fault = FieldError(("input", index), "is an empty string")
        else:
            return Text(value) if kind == "text" else ImageUrl(as_url(value))
        raise InvalidRequest(f"{fault.path} {fault.message}", [fault])


class ImagesRequest(EmbeddingsRequest):
    """As POST /v1/embeddings; plain strings are images."""

    modality: Kind = "image"


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
class Stats:
    """What infinity's clients read of a model beside its name: how many items wait for it."""

    queue_absolute: int


@dataclass(frozen=True)
class ModelCard:
    """The served model. infinity's client reads no other owner than its own, OpenAI's reads any."""

    id: str
    full_name: str
    dimensions: int | None
    fingerprint: str | None
    stats: Stats
    object: str = "model"
    created: int = 0
    owned_by: str = "infinity"
    backend: str = SERVICE
    capabilities: tuple[str, ...] = ("embed", "image_embed")


@dataclass(frozen=True)
class ModelsResponse:
    """All that are served: one."""

    data: Sequence[ModelCard] = field(default_factory=list)
    object: str = "list"


def embeddings(body: EmbeddingsRequest, call: Call) -> EmbeddingsResponse:
    """Vectors of texts and images, mixed as they come.

    Raises ImagesFailed: the shape has no place for one failure.
    """
    joints = body.joints()
    if body.model not in (None, UNSPECIFIED_MODEL):
        check_model(body.model, call)
    check_dimensions("dimensions", body.dimensions, call.model.dimensions)
    checked_counts(parts_of(joints))
    embedded = call.embed_joints(joints)
    check_dimensions("dimensions", body.dimensions, embedded.dimensions)  # now it is known
    if embedded.errors:
        first = embedded.errors[0]
        raise ImagesFailed(
            f"input[{first.index}]: {first.detail} ({first.code})", embedded.errors, field="input"
        )
    data = [Embedding(index, row) for index, row in enumerate(body.rows(embedded.vectors))]
    return EmbeddingsResponse(data, call.model.spec.id, Usage(embedded.tokens, embedded.tokens))


def models(call: Call) -> ModelsResponse:
    """The served model, as a list."""
    return ModelsResponse([_card(call.model)])


def model(call: Call, id: str) -> ModelCard:
    """The served model by any of its names. Raises ModelNotFound."""
    check_model(id, call)
    return _card(call.model)


def _card(served: Model) -> ModelCard:
    waiting = sum(tower.batcher.queue_items for tower in served.towers)
    return ModelCard(
        served.spec.id,
        served.spec.full_name,
        served.dimensions,
        served.fingerprint,
        Stats(waiting),
    )


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
    "one vector of a text and a picture together": Example(
        {"input": [{"text": "a fox", "image": FOX}]}
    ),
    "content parts": Example(
        {
            "input": [
                {"type": "text", "text": "a fox"},
                {"type": "image_url", "image_url": {"url": FOX}},
            ]
        }
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
            "POST",
            "/embeddings_image",
            embeddings,
            Answer(EmbeddingsResponse, "The vectors."),
            Body(ImagesRequest),
            raises=(*IMAGE_ERRORS, ModelNotFound),
            examples={"a picture": Example({"input": [FOX]})},
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
