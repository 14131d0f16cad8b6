"""The inference protocol of Weaviate's multi2vec-clip module."""

import time
from dataclasses import dataclass

from common.encoding import Rows
from common.errors import ModelLoading, ModelUnavailable
from common.images.url_policy import as_url
from common.items import ImageUrl, Item, Text
from functions import schemas
from functions.call import Call
from functions.envelopes import Envelope, message_of
from functions.errors import ImagesFailed
from functions.examples import FOX_BASE64, Example
from functions.responses import NO_CONTENT, write_nothing
from functions.route import IMAGE_ERRORS, Answer, Body, Protocol, Route

READY_WAIT_S = 0.4  # the module gives up after 0.5 s, and would not get the reason


class VectorizeRequest(schemas.Request):
    """Texts and images. The module sends images as base64, without a `data:` prefix."""

    texts: schemas.Texts | None = None
    images: schemas.Urls | None = None


@dataclass(frozen=True)
class VectorizeResponse:
    """Vectors of the texts and of the images, each in the order of the request."""

    textVectors: Rows  # noqa: N815 - the protocol's names
    imageVectors: Rows  # noqa: N815


@dataclass(frozen=True)
class MetaResponse:
    """What Weaviate shows about its inference container."""

    model: str
    full_name: str
    dimensions: int | None


def vectorize(body: VectorizeRequest, call: Call) -> VectorizeResponse:
    """Vectors of texts and images.

    Raises ImagesFailed if any image fails, because the answer has no place for errors.
    """
    given = body.texts or []
    items: list[Item] = [
        *map(Text, given),
        *(ImageUrl(as_url(image, tolerant=True)) for image in body.images or []),
    ]
    texts, images = call.embed(items).split(len(given))
    if images.errors:
        first = images.errors[0]
        raise ImagesFailed(
            f"images[{first.index}]: {first.detail} ({first.code})", images.errors, field="images"
        )
    return VectorizeResponse(texts.vectors, images.vectors)


def meta(call: Call) -> MetaResponse:
    """The served model, its full name and dimensions."""
    model = call.model
    return MetaResponse(model.spec.id, model.spec.full_name, model.dimensions)


def live(_: Call) -> None:
    """The process is alive."""


def ready(call: Call) -> None:
    """Ready once both towers are loaded.

    Raises ModelLoading or ModelUnavailable.
    """
    until = time.monotonic() + min(READY_WAIT_S, call.settings.health_wait_s)
    model = call.model
    for tower in model.towers:
        tower.start_loading()
    for tower in model.towers:
        tower.wait(max(0.0, until - time.monotonic()))


@dataclass(frozen=True)
class WeaviateError:
    """The shape of errors of Weaviate's inference protocol."""

    error: str


PROTOCOL = Protocol(
    tag="Weaviate",
    description="The inference API of Weaviate's `multi2vec-clip` module.",
    envelope=Envelope(WeaviateError, lambda error: WeaviateError(message_of(error))),
    routes=(
        Route(
            "POST",
            "/vectorize",
            vectorize,
            Answer(VectorizeResponse, "The embeddings."),
            Body(VectorizeRequest),
            raises=IMAGE_ERRORS,
            examples={
                "a text and an image": Example({"texts": ["a fox"], "images": [FOX_BASE64]}),
            },
            is_for_weaviate=True,
        ),
        Route("GET", "/meta", meta, Answer(MetaResponse, "The served model.")),
        Route(
            "GET",
            "/.well-known/live",
            live,
            Answer(None, "Alive.", write_nothing, (), NO_CONTENT),
            is_open=True,
        ),
        Route(
            "GET",
            "/.well-known/ready",
            ready,
            Answer(None, "Ready.", write_nothing, (), NO_CONTENT),
            raises=(ModelLoading, ModelUnavailable),
            is_open=True,
        ),
    ),
)
