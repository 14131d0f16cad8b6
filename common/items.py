"""What can be embedded: a text, an image's bytes, or where an image is to be read from."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """A text of any length; what passes the model's context length is cut and reported."""

    text: str


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """An image file's bytes. `name` is what an error calls it, such as the name of an uploaded file."""

    data: bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """Where an image is read from: `http(s)://`, `data:`, `gs://`, or the scheme of another image source."""

    url: str


Image = ImageBytes | ImageUrl
Item = Text | Image


def size_bytes(item: Item) -> int:
    """The memory that the item's own content takes."""
    match item:
        case Text(content) | ImageBytes(content) | ImageUrl(content):
            return sys.getsizeof(content)
