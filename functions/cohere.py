"""Cohere's embed API: POST /v2/embed, and version 1 at POST /v1/embed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from common.encoding import Rows, encode
from common.errors import ModelNotFound
from common.images.url_policy import as_url
from common.items import ImageUrl, Item, Text
from common.joint import Joint, parts_of
from common.models.spec import Vectors
from functions import schemas
from functions.call import Call
from functions.content import ContentInput, Part
from functions.envelopes import Envelope, message_of
from functions.errors import ImagesFailed
from functions.examples import FOX, Example
from functions.model_names import check_dimensions, check_model
from functions.request_schema import all_given, all_null, refusing
from functions.route import IMAGE_ERRORS, Answer, Body, Protocol, Route

LISTS = ("texts", "images", "inputs")
EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
InputType = Literal["search_document", "search_query", "classification", "clustering", "image"]
Inputs = Annotated[
    list[ContentInput], Field(min_length=1, max_length=schemas.MAX_TEXTS + schemas.MAX_IMAGES)
]


class EmbedRequest(schemas.Request):
    """Give one of `texts`, `images` and `inputs`. `input_type` and `priority` have no effect."""

    model_config = ConfigDict(
        json_schema_extra=refusing(
            all_null(*LISTS),
            *(all_given(*pair) for pair in (LISTS[:2], LISTS[1:], LISTS[::2])),
        )
    )

    model: str | None = None
    input_type: InputType | None = None
    texts: Annotated[schemas.Texts, Field(min_length=1)] | None = None
    images: Annotated[schemas.Urls, Field(min_length=1)] | None = None
    inputs: Inputs | None = None
    embedding_types: Annotated[list[EmbeddingType], Field(min_length=1, max_length=6)] | None = None
    output_dimension: schemas.WholeNumber | None = None
    truncate: Literal["END", "NONE"] = "END"
    priority: schemas.WholeNumber | None = None

    @model_validator(mode="after")
    def _one_list(self) -> "EmbedRequest":
        given = [name for name in LISTS if getattr(self, name) is not None]
        if len(given) != 1:
            named = " and ".join(given) or "nothing to embed"
            raise ValueError(f"{named}: give one of texts, images and inputs")
        return self

    @property
    def field(self) -> str:
        """The name of the list that the request gives."""
        return next(name for name in LISTS if getattr(self, name) is not None)

    def joints(self) -> list[Joint]:
        """The request's inputs in order."""
        texts = [(Part(text, "text"),) for text in self.texts or ()]
        images = [(Part(image, "image"),) for image in self.images or ()]
        inputs = [own.parts() for own in self.inputs or ()]
        return [Joint(tuple(map(_item, parts))) for parts in (*texts, *images, *inputs)]


def _item(part: Part) -> Item:
    return Text(part.value) if part.kind == "text" else ImageUrl(as_url(part.value))


@dataclass(frozen=True)
class ApiVersion:
    """The version of Cohere's API that this answer follows."""

    version: Literal["1", "2"] = "2"


@dataclass(frozen=True)
class BilledUnits:
    """The counts that Cohere bills. This service bills nothing."""

    input_tokens: int
    images: int


@dataclass(frozen=True)
class Meta:
    """The API version and the counts of the answer."""

    api_version: ApiVersion
    billed_units: BilledUnits


@dataclass(frozen=True)
class EmbedResponse:
    """Vectors in the order of the inputs, once for each requested type."""

    id: str
    embeddings: dict[EmbeddingType, Rows]
    meta: Meta
    response_type: str = "embeddings_by_type"


@dataclass(frozen=True)
class EmbedV1Response(EmbedResponse):
    """Version 1 also repeats the texts."""

    texts: Sequence[str] = ()


@dataclass(frozen=True)
class FloatsResponse:
    """Vectors in the order of the inputs, for a request of version 1 without `embedding_types`."""

    id: str
    embeddings: Rows
    texts: Sequence[str]
    meta: Meta
    response_type: str = "embeddings_floats"


def embed(body: EmbedRequest, call: Call) -> EmbedResponse:
    """Vectors of texts, images, or both together.

    Raises ImagesFailed if any image fails, because Cohere's answer cannot hold partial results.
    """
    if body.model is not None:
        check_model(body.model, call)
    check_dimensions("output_dimension", body.output_dimension, call.model.dimensions)
    joints = body.joints()
    parts = parts_of(joints)
    schemas.checked_counts(parts)
    result = call.embed_joints(joints)
    check_dimensions("output_dimension", body.output_dimension, result.dimensions)
    if result.errors:
        first = result.errors[0]
        message = f"{body.field}[{first.index}]: {first.detail} ({first.code})"
        raise ImagesFailed(message, result.errors, field=body.field)
    if body.truncate == "NONE":
        schemas.check_not_truncated(result.truncated, body.field, "truncate END")
    kinds: dict[EmbeddingType, None] = dict.fromkeys(body.embedding_types or ["float"])
    images = sum(isinstance(part, ImageUrl) for part in parts)
    meta = Meta(ApiVersion(), BilledUnits(result.tokens, images))
    rows = {kind: _rows(result.vectors, kind) for kind in kinds}
    return EmbedResponse(call.record.request_id, rows, meta)


def embed_v1(body: EmbedRequest, call: Call) -> EmbedV1Response | FloatsResponse:
    """Vectors as version 1 of the API returns them. Raises as `embed` does."""
    answer = embed(body, call)
    meta = replace(answer.meta, api_version=ApiVersion("1"))
    texts = body.texts or ()
    if body.embedding_types is None:
        return FloatsResponse(answer.id, answer.embeddings["float"], texts, meta)
    return EmbedV1Response(answer.id, answer.embeddings, meta, texts=texts)


def _rows(vectors: Vectors, kind: EmbeddingType) -> Rows:
    if kind == "base64":
        return encode(vectors, "base64", "float")
    return encode(vectors, "float", kind)


@dataclass(frozen=True)
class CohereError:
    """The shape of Cohere's errors."""

    message: str


EXAMPLES: dict[str, Example] = {
    "texts": Example({"model": "demo", "texts": ["a fox"], "input_type": "search_document"}),
    "one vector of a text and an image": Example(
        {
            "inputs": [
                {
                    "content": [
                        {"type": "text", "text": "a fox"},
                        {"type": "image_url", "image_url": {"url": FOX}},
                    ]
                }
            ],
            "embedding_types": ["int8"],
        }
    ),
}
PROTOCOL = Protocol(
    tag="Cohere",
    description="Cohere's embed API, versions 1 and 2.",
    envelope=Envelope(CohereError, lambda error: CohereError(message_of(error))),
    routes=(
        Route(
            "POST",
            "/v2/embed",
            embed,
            Answer(EmbedResponse, "The embeddings."),
            Body(EmbedRequest),
            raises=(*IMAGE_ERRORS, ModelNotFound),
            examples=EXAMPLES,
        ),
        Route(
            "POST",
            "/v1/embed",
            embed_v1,
            Answer(EmbedV1Response | FloatsResponse, "The embeddings."),
            Body(EmbedRequest),
            raises=(*IMAGE_ERRORS, ModelNotFound),
            examples=EXAMPLES,
        ),
    ),
)
