"""The kinds of items to embed: a text, the bytes of an image, or the URL of an image."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """A text of any length; it is cut at the model's context length, and the result says so."""

    text: str


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """The bytes of an image file. Errors name it by `name`, such as that of an uploaded file."""

    data: bytes
    name: str = ""


@dataclass(frozen=True, slots=True)
class ImageUrl:
    """The URL of an image: `http(s)://`, `data:`, `gs://`, or a scheme of another source."""

    url: str


Image = ImageBytes | ImageUrl
Item = Text | Image


def size_bytes(item: Item) -> int:
    """The bytes of memory that the item's content takes."""
    match item:
        case Text(content) | ImageBytes(content) | ImageUrl(content):
            return sys.getsizeof(content)
