"""Request and response models, and the contract's limits.

Requests are pydantic models: strict, frozen, no unknown fields. Responses are plain dataclasses, since what we write
needs no checking, and orjson writes their arrays as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from common import items
from common.encoding import EncodingFormat, OutputDtype, Rows
from common.errors import InvalidRequest, ItemError

MAX_TEXTS = 2048
MAX_IMAGES = 256
MAX_TEXT_CHARS = 100_000
MAX_BODY_BYTES = 32 * 2**20  # the platform's own limit

OnError = Literal["skip", "null", "fail"]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS)]
Url = Annotated[str, StringConstraints(min_length=1)]


class Request(BaseModel):
    """Base of all request bodies."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Item(Request):
    """A text or an image, not both."""

    text: Text | None = None
    url: Url | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "Item":
        if (self.text is None) == (self.url is None):
            raise ValueError("holds neither text nor url, or both: give one of them")
        return self

    def read(self) -> items.Item:
        """The item that it describes."""
        return items.Text(self.text) if self.text is not None else items.ImageUrl(self.url or "")


def checked_counts(given: Sequence[Item]) -> None:
    """Raises InvalidRequest where there are more texts or more images than one request may hold."""
    texts = sum(item.text is not None for item in given)
    if texts > MAX_TEXTS or len(given) - texts > MAX_IMAGES:
        raise InvalidRequest(
            f"{texts:,} texts and {len(given) - texts:,} images, the limits are {MAX_TEXTS:,} and {MAX_IMAGES:,}"
        )


class EmbeddingRequest(Request):
    """How the vectors shall be written."""

    encoding_format: EncodingFormat = "float"
    output_dtype: OutputDtype = "float"

    @model_validator(mode="after")
    def _float16_is_base64_only(self) -> "EmbeddingRequest":
        if self.output_dtype == "float16" and self.encoding_format == "float":
            raise ValueError('output_dtype "float16" needs encoding_format "base64"')
        return self


class TextRequest(EmbeddingRequest):
    """POST /embed/text"""

    texts: Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)]


class ImageRequest(EmbeddingRequest):
    """POST /embed/image"""

    urls: Annotated[list[Url], Field(min_length=1, max_length=MAX_IMAGES)]
    on_error: OnError = "skip"


class MixedRequest(EmbeddingRequest):
    """POST /embed/mixed: either list may be missing, not both."""

    texts: Annotated[list[Text], Field(max_length=MAX_TEXTS)] = []
    urls: Annotated[list[Url], Field(max_length=MAX_IMAGES)] = []
    on_error: OnError = "skip"

    @model_validator(mode="after")
    def _something_to_embed(self) -> "MixedRequest":
        if not self.texts and not self.urls:
            raise ValueError("nothing to embed: give texts, urls, or both")
        return self


@dataclass(frozen=True)
class TextResponse:
    """Vectors in the order of the texts; `truncated` lists the indices of texts cut at the model's context length."""

    embeddings: Rows
    model: str
    dimensions: int
    truncated: list[int]


@dataclass(frozen=True)
class ImageResponse:
    """`indices` says which input each row belongs to; `errors` has an entry for each image that failed."""

    embeddings: Rows
    indices: list[int]
    errors: Sequence[ItemError]
    model: str
    dimensions: int


@dataclass(frozen=True)
class MixedResponse:
    """TextResponse and ImageResponse in one."""

    text_embeddings: Rows
    image_embeddings: Rows
    truncated: list[int]
    indices: list[int]
    errors: Sequence[ItemError]
    model: str
    dimensions: int


@dataclass(frozen=True)
class HealthResponse:
    """Healthy means: both towers are loaded, and a forward pass worked on each."""

    status: Literal["healthy", "loading", "unhealthy"]
    model_loaded: bool
    text_model_loaded: bool
    image_model_loaded: bool
    detail: str = ""


@dataclass(frozen=True)
class LiveResponse:
    """The process answers."""

    status: Literal["alive"] = "alive"


@dataclass(frozen=True)
class Limits:
    """What a request may hold."""

    texts: int = MAX_TEXTS
    images: int = MAX_IMAGES
    body_bytes: int = MAX_BODY_BYTES
    text_characters: int = MAX_TEXT_CHARS


@dataclass(frozen=True)
class TowerStatus:
    """What is known of a tower; engine, device and precision are None until it is loaded."""

    loaded: bool
    engine: str | None = None
    device: str | None = None
    precision: str | None = None


@dataclass(frozen=True)
class BannerResponse:
    """What this function is. `dimensions` and `fingerprint` are None as long as they are not known."""

    service: str
    version: str
    model: str
    full_name: str
    description: str
    dimensions: int | None
    fingerprint: str | None
    text: TowerStatus
    image: TowerStatus
    routes: list[str]
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class File:
    """An answer that is no JSON; its `headers` take the place of those that every answer has."""

    data: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    is_gzip: bool = False
