"""OpenAI's API: POST /v1/embeddings and GET /v1/models.

Images may be sent in the forms of infinity, Jina and OpenAI's content parts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import ConfigDict, PlainValidator, model_validator

from common.encoding import Row, Rows, encode
from common.errors import ModelNotFound
from common.images.url_policy import as_url
from common.items import ImageUrl, Item, Text
from common.joint import Joint, parts_of
from common.models.model import Model
from common.models.spec import Vectors
from common.version import SERVICE
from functions.call import Call
from functions.content import Input, Inputs, Kind, Part, read_inputs
from functions.envelopes import Envelope, code_of, message_of
from functions.errors import FieldError, ImagesFailed, InvalidRequest
from functions.model_names import check_dimensions, check_model
from functions.openai_examples import EMBEDDINGS_EXAMPLES, IMAGES_EXAMPLES
from functions.openai_words import BLANK_INPUT, REFUSED, EmbeddingType, InputType, Task, Truncate
from functions.request_schema import refusing
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
# Matches a data: URL of an image, but not a text that mentions one.
_IMAGE_DATA = re.compile(r"\s*data:image/[\w.+-]+(?:\s*;[^,]*,|,\S)", re.IGNORECASE)
# infinity's client sends this if its caller named no model.
UNSPECIFIED_MODEL = "default/not-specified"


class EmbeddingsRequest(EmbeddingRequest):
    """With `modality` image, plain strings are images. `user` has no effect.

    `dimensions` must be the model's own, or 0, which infinity's client sends by default.
    `embedding_type` is Jina's field for the form of the vectors, `output_dimension` is Voyage's
    for `dimensions`. The fields that follow them here are those of Jina, Voyage and NVIDIA; only
    values that ask for what this service does are valid.
    """

    model_config = ConfigDict(json_schema_extra=refusing(*REFUSED))

    input: Annotated[list[Input], PlainValidator(read_inputs, json_schema_input_type=Inputs)]
    model: str | None = None
    modality: Kind = "text"
    dimensions: WholeNumber | None = None
    user: str | None = None
    embedding_type: EmbeddingType | None = None
    output_dimension: WholeNumber | None = None
    task: Task | None = None
    normalized: Literal[True] = True
    late_chunking: Literal[False] = False
    return_multivector: Literal[False] = False
    truncate: Truncate = True
    truncation: Literal[True] = True
    input_type: InputType | None = None

    @model_validator(mode="after")
    def _one_way_to_write(self) -> "EmbeddingsRequest":
        given = self.model_fields_set & {"encoding_format", "output_dtype"}
        if self.embedding_type and given:
            raise ValueError(f"embedding_type and {min(given)} mean the same: give one of them")
        return self

    def check_dimensions(self, own: int | None) -> None:
        """Raise InvalidRequest if the caller asks for other dimensions than the model's own."""
        check_dimensions("dimensions", self.dimensions, own)
        check_dimensions("output_dimension", self.output_dimension, own)

    def rows(self, vectors: Vectors) -> Rows:
        """`vectors` in the form that the caller asked for."""
        match self.embedding_type:
            case None:
                return encode(vectors, self.encoding_format, self.output_dtype)
            case "base64":
                return encode(vectors, "base64", "float")
            case dtype:
                return encode(vectors, "float", dtype)

    def joints(self) -> list[Joint]:
        """The inputs in order.

        Raises InvalidRequest if a text is too long or an image's reference is empty.
        """
        return [
            Joint(tuple(self._item(index, part) for part in parts))
            for index, parts in enumerate(self.input)
        ]

    def _kind_of(self, value: str) -> Kind:
        """The kind of a plain string. Without `modality`, a data: URL of an image is an image."""
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
    """The request of POST /v1/embeddings, but plain strings are images."""

    model_config = ConfigDict(
        json_schema_extra=refusing(
            *REFUSED,
            {
                "properties": {"modality": {"enum": ["image", None]}, "input": BLANK_INPUT},
                "required": ["input"],
            },
        )
    )

    modality: Kind = "image"


@dataclass(frozen=True)
class Embedding:
    """One vector, as numbers or as base64."""

    index: int
    embedding: Row
    object: str = "embedding"


@dataclass(frozen=True)
class Usage:
    """The number of tokens that the model read."""

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
    """The number of items that wait for the model; infinity's clients read it."""

    queue_absolute: int


@dataclass(frozen=True)
class ModelCard:
    """The served model. infinity's client requires its own `owned_by`; OpenAI's accepts any."""

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
    """A list with the served model."""

    data: Sequence[ModelCard] = field(default_factory=list)
    object: str = "list"


def embeddings(body: EmbeddingsRequest, call: Call) -> EmbeddingsResponse:
    """Vectors of texts and images, in the order of the inputs.

    Raises ImagesFailed if any image fails, because OpenAI's answer cannot hold partial results.
    """
    joints = body.joints()
    if body.model not in (None, UNSPECIFIED_MODEL):
        check_model(body.model, call)
    body.check_dimensions(call.model.dimensions)
    checked_counts(parts_of(joints))
    embedded = call.embed_joints(joints)
    body.check_dimensions(embedded.dimensions)  # known at the latest now
    if embedded.errors:
        first = embedded.errors[0]
        raise ImagesFailed(
            f"input[{first.index}]: {first.detail} ({first.code})", embedded.errors, field="input"
        )
    data = [Embedding(index, row) for index, row in enumerate(body.rows(embedded.vectors))]
    return EmbeddingsResponse(data, call.model.spec.id, Usage(embedded.tokens, embedded.tokens))


def models(call: Call) -> ModelsResponse:
    """List the served model."""
    return ModelsResponse([_card(call.model)])


def model(call: Call, id: str) -> ModelCard:
    """The served model, by any of its names.

    Raises ModelNotFound.
    """
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
    """What is wrong. `param` is the path of the wrong field or image."""

    message: str
    type: str
    param: str | None
    code: str


@dataclass(frozen=True)
class OpenAIError:
    """The shape of OpenAI's errors. Jina's callers read `detail`: Weaviate's and Chroma's."""

    error: OpenAIFault
    detail: str


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
    message = message_of(error)
    return OpenAIError(OpenAIFault(message, kind, param, code_of(error)), message)


PROTOCOL = Protocol(
    tag="OpenAI",
    description="OpenAI's embeddings API, extended by images.",
    envelope=Envelope(OpenAIError, _error_of),
    routes=(
        Route(
            "POST",
            "/v1/embeddings",
            embeddings,
            Answer(EmbeddingsResponse, "The embeddings."),
            Body(EmbeddingsRequest),
            raises=(*IMAGE_ERRORS, ModelNotFound),
            examples=EMBEDDINGS_EXAMPLES,
            aliases=("/embeddings",),
        ),
        Route(
            "POST",
            "/embeddings_image",
            embeddings,
            Answer(EmbeddingsResponse, "The embeddings."),
            Body(ImagesRequest),
            raises=(*IMAGE_ERRORS, ModelNotFound),
            examples=IMAGES_EXAMPLES,
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
