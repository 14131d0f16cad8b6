"""Converts the values of columns to texts and images."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from common.items import Image, ImageBytes, ImageUrl

RELATIVE = "input"  # the scheme of paths relative to the input's root


def values_of(column: pa.ChunkedArray) -> Sequence[Any]:
    """The values of a column. Text that is not UTF-8 has replacement characters there."""
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        data = column.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "replace") for value in data]
    return values


def as_image(value: object) -> Image | None:
    """The image that a value names or holds; None for an empty value.

    A value is bytes, a URL (`http(s)://`, `gs://`, `data:`), or a path relative to the input.
    """
    # Image columns of Hugging Face datasets have {"bytes": …, "path": …}.
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return ImageBytes(value) if value else None
    text = str(value).strip() if value is not None else ""
    if not text:
        return None
    if "://" in text or text[:5].lower() == "data:":
        return ImageUrl(text)
    return relative_image(text)


def relative_image(path: str) -> Image:
    """The image at a path relative to the input's root."""
    return ImageUrl(f"{RELATIVE}:{path}")


def as_text(value: object) -> str | None:
    """The value as text; None for null. Bytes are read as UTF-8."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)
