"""The inference protocol of Weaviate's multi2vec-clip module."""

import time
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from common import schemas
from common.encoding import Rows
from common.errors import ImagesFailed
from common.images.url_policy import as_url
from common.items import ImageUrl, Item, Text
from common.schemas import MAX_IMAGES, MAX_TEXTS, Request, Url
from functions.call import Call

READY_WAIT_S = 0.4  # the module gives up a look after 0.5 s, and would not see why


class VectorizeRequest(Request):
    """`images` are base64, without a `data:` prefix."""

    texts: Annotated[list[schemas.Text], Field(max_length=MAX_TEXTS)] | None = None
    images: Annotated[list[Url], Field(max_length=MAX_IMAGES)] | None = None


@dataclass(frozen=True)
class VectorizeResponse:
    """Vectors in the order of the texts and of the images."""

    textVectors: Rows  # noqa: N815 - the protocol's names
    imageVectors: Rows  # noqa: N815


@dataclass(frozen=True)
class MetaResponse:
    """What the module shows of its inference container."""

    model: str
    full_name: str
    dimensions: int | None


def vectorize(body: VectorizeRequest, call: Call) -> VectorizeResponse:
    """Vectors of both. Raises ImagesFailed: a failed image would move the others' places."""
    given = body.texts or []
    items: list[Item] = [*map(Text, given), *(ImageUrl(as_url(image)) for image in body.images or [])]
    texts, images = call.embed(items).split(len(given))
    if images.errors:
        first = images.errors[0]
        raise ImagesFailed(f"images[{first.index}]: {first.detail} ({first.code})", images.errors, field="images")
    return VectorizeResponse(texts.vectors, images.vectors)


def meta(call: Call) -> MetaResponse:
    """What is served."""
    model = call.model
    return MetaResponse(model.spec.id, model.spec.full_name, model.dimensions)


def live(_: Call) -> None:
    """The process answers."""


def ready(call: Call) -> None:
    """Both towers are loaded. Raises ModelLoading, ModelUnavailable."""
    until = time.monotonic() + min(READY_WAIT_S, call.settings.health_wait_s)
    model = call.model
    for tower in model.towers:
        tower.start_loading()
    for tower in model.towers:
        tower.wait(max(0.0, until - time.monotonic()))
