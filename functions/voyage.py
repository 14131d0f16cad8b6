"""Voyage's multimodal embeddings: POST /v1/multimodalembeddings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from common.encoding import Row, encode
from common.errors import ModelNotFound
from common.images.url_policy import as_url
from common.items import ImageUrl, Item, Text
from common.joint import Joint, parts_of
from functions import schemas
from functions.call import Call
from functions.content import Reference
from functions.envelopes import Envelope, message_of
from functions.errors import ImagesFailed
from functions.examples import FOX, Example
from functions.model_names import check_dimensions, check_model
from functions.route import IMAGE_ERRORS, Answer, Body, Protocol, Route


class VoyageText(schemas.Request):
    """A text."""

    type: Literal["text"]
    text: schemas.Text

    def read(self) -> Item:
        """The text."""
        return Text(self.text)


class VoyageImageUrl(schemas.Request):
    """An image by URL."""

    type: Literal["image_url"]
    image_url: Reference

    def read(self) -> Item:
        """The image."""
        return ImageUrl(as_url(self.image_url))


class VoyageImageBase64(schemas.Request):
    """An image as a data: URL."""

    type: Literal["image_base64"]
    image_base64: Reference

    def read(self) -> Item:
        """The image."""
        return ImageUrl(as_url(self.image_base64))


VoyagePart = Annotated[VoyageText | VoyageImageUrl | VoyageImageBase64, Field(discriminator="type")]


class VoyageInput(schemas.Request):
    """Parts that get one vector together: the mean of their unit vectors."""

    content: Annotated[list[VoyagePart], Field(min_length=1, max_length=16)]


class MultimodalRequest(schemas.EmbeddingRequest):
    """Inputs of texts and images. `input_type` has no effect."""

    inputs: Annotated[
        list[VoyageInput], Field(min_length=1, max_length=schemas.MAX_TEXTS + schemas.MAX_IMAGES)
    ]
    model: str | None = None
    input_type: Literal["query", "document"] | None = None
    truncation: bool = True
    output_dimension: schemas.WholeNumber | None = None


@dataclass(frozen=True)
class MultimodalEmbedding:
    """One vector, as numbers or as base64."""

    index: int
    embedding: Row
    object: str = "embedding"


@dataclass(frozen=True)
class MultimodalUsage:
    """The number of tokens that the model read. Pixels are not counted."""

    text_tokens: int
    total_tokens: int
    image_pixels: int = 0
    video_pixels: int = 0


@dataclass(frozen=True)
class MultimodalResponse:
    """Vectors in the order of the inputs."""

    data: Sequence[MultimodalEmbedding]
    model: str
    usage: MultimodalUsage
    object: str = "list"


def embed(body: MultimodalRequest, call: Call) -> MultimodalResponse:
    """One vector for each input, of its texts and images together.

    Raises ImagesFailed if any image fails, because Voyage's answer cannot hold partial results.
    """
    if body.model is not None:
        check_model(body.model, call)
    joints = [Joint(tuple(part.read() for part in own.content)) for own in body.inputs]
    schemas.checked_counts(parts_of(joints))
    check_dimensions("output_dimension", body.output_dimension, call.model.dimensions)
    result = call.embed_joints(joints)
    check_dimensions("output_dimension", body.output_dimension, result.dimensions)
    if result.errors:
        first = result.errors[0]
        message = f"inputs[{first.index}]: {first.detail} ({first.code})"
        raise ImagesFailed(message, result.errors, field="inputs")
    if not body.truncation:
        schemas.check_not_truncated(result.truncated, "inputs", "truncation true")
    rows = encode(result.vectors, body.encoding_format, body.output_dtype)
    data = [MultimodalEmbedding(index, row) for index, row in enumerate(rows)]
    usage = MultimodalUsage(result.tokens, result.tokens)
    return MultimodalResponse(data, call.model.spec.id, usage)


@dataclass(frozen=True)
class VoyageError:
    """The shape of Voyage's errors."""

    detail: str


EXAMPLES = {
    "a text and an image": Example(
        {
            "inputs": [
                {
                    "content": [
                        {"type": "text", "text": "a fox"},
                        {"type": "image_base64", "image_base64": FOX},
                    ]
                }
            ],
            "model": "demo",
        }
    )
}
PROTOCOL = Protocol(
    tag="Voyage",
    description="Voyage's multimodal embeddings API.",
    envelope=Envelope(VoyageError, lambda error: VoyageError(message_of(error))),
    routes=(
        Route(
            "POST",
            "/v1/multimodalembeddings",
            embed,
            Answer(MultimodalResponse, "The embeddings."),
            Body(MultimodalRequest),
            raises=(*IMAGE_ERRORS, ModelNotFound),
            examples=EXAMPLES,
        ),
    ),
)
