"""The inference protocol of Weaviate's multi2vec-clip module."""

import time
from dataclasses import dataclass
from typing import Annotated

from common.embedding import get_embedder
from common.models.registry import get_model
from pydantic import Field

from common.config import get_settings
from common.encoding import Rows
from common.errors import ImagesFailed
from common.images.url_policy import as_url
from common.schemas import MAX_IMAGES, MAX_TEXTS, Request, Text, Url

READY_WAIT_S = 0.4  # the module gives up a look after 0.5 s, and would not see why


class VectorizeRequest(Request):
    """`images` are base64, without a `data:` prefix."""

    texts: Annotated[list[Text], Field(max_length=MAX_TEXTS)] | None = None
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


def vectorize(body: VectorizeRequest) -> VectorizeResponse:
    """Vectors of both. Raises ImagesFailed: a failed image would move the others' places."""
    texts, images = get_embedder().embed_mixed(body.texts or [], [as_url(image) for image in body.images or []])
    if images.errors:
        first = images.errors[0]
        raise ImagesFailed(f"images[{first.index}]: {first.detail} ({first.code})", images.errors, field="images")
    return VectorizeResponse(texts.vectors, images.vectors)


def meta() -> MetaResponse:
    """What is served."""
    model = get_model()
    return MetaResponse(model.spec.id, model.spec.full_name, model.dimensions)


def live() -> None:
    """The process answers."""


def ready() -> None:
    """Both towers are loaded. Raises ModelLoading, ModelUnavailable."""
    until = time.monotonic() + min(READY_WAIT_S, get_settings().health_wait_s)
    model = get_model()
    for tower in model.towers:
        tower.start_loading()
    for tower in model.towers:
        tower.wait(max(0.0, until - time.monotonic()))
