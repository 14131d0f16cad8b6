"""An image source that only the tests have: `album:fox`."""

from common import Allowance
from common.errors import FetchError


class Album:
    """Images by name."""

    schemes = ("album",)

    def __init__(self, images: dict[str, bytes]) -> None:
        self._images = images

    def read(self, reference: str, allowance: Allowance) -> bytes:
        _, _, name = reference.partition(":")
        if name not in self._images:
            raise FetchError(f"no image {name!r} in the album")
        return self._images[name]
