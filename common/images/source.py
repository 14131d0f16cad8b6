"""The protocol of image sources, and the reader that chooses one by the scheme of a URL.

A new source is a class that implements `ImageSource`, passed to `open_embedder`.
"""

from collections.abc import Sequence
from typing import Protocol

from common.allowance import Allowance
from common.errors import BodyTooLarge, FetchTimeout, InvalidUrl
from common.images.memory_budget import LARGE_BYTES
from common.images.url_policy import looks_like_base64
from common.items import Image, ImageBytes, ImageUrl

MAX_SCHEME_CHARS = 32


class ImageSource(Protocol):
    """Reads images by URL. Safe to use from any thread; opens nothing before the first read."""

    @property
    def schemes(self) -> tuple[str, ...]:
        """The URL schemes that this source reads, in lower case and without the colon."""
        ...

    def read(self, reference: str, allowance: Allowance) -> bytes:
        """The image file's bytes, within the allowance. Raises FetchError."""
        ...


class ImageReader:
    """Reads an image from the source for its scheme. `max_bytes` also bounds images as bytes."""

    def __init__(self, sources: Sequence[ImageSource], max_bytes: int) -> None:
        self._sources = {scheme: source for source in sources for scheme in source.schemes}
        self._max_bytes = max_bytes

    def read(self, image: Image, allowance: Allowance) -> bytes:
        """The image file's bytes, within the allowance.

        Raises FetchError, such as InvalidUrl if no source reads the scheme.
        """
        match image:
            case ImageBytes(data):
                return self._checked(data, allowance)
            case ImageUrl(url):
                return self._source_of(url).read(url, allowance)

    def _checked(self, data: bytes, allowance: Allowance) -> bytes:
        if len(data) > self._max_bytes:
            raise BodyTooLarge(
                f"the image has {len(data):,} bytes, the limit is {self._max_bytes:,}"
            )
        if len(data) > LARGE_BYTES and not allowance.take_turn():
            raise FetchTimeout("the time ran out while waiting for other large images")
        return data

    def _source_of(self, url: str) -> ImageSource:
        scheme, colon, _ = url[:MAX_SCHEME_CHARS].partition(":")
        source = self._sources.get(scheme.lower()) if colon else None
        if source is None and looks_like_base64(url):
            raise InvalidUrl("this is bare base64, not a URL; put data:;base64, in front of it")
        if source is None:
            supported = ", ".join(self._sources)
            raise InvalidUrl(f"the URL's scheme is not supported; supported: {supported}")
        return source
