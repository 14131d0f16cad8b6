"""Writes the rows of images as `on_error` asks, for the native routes."""

from collections.abc import Callable

from common.embeddings import Embeddings
from common.encoding import Rows, encode, spread
from functions.errors import ImagesFailed
from functions.schemas import EmbeddingRequest, OnError


class ImagesRequest(EmbeddingRequest):
    """How to write the vectors, and what to do about failed images."""

    on_error: OnError = "skip"


def image_rows(
    images: Embeddings,
    body: ImagesRequest,
    place: Callable[[int], tuple[str, int]] = lambda index: ("urls", index),
) -> tuple[Rows, list[int]]:
    """The rows in the requested form, and the index of the image of each row.

    `place` maps an index to the image's field and place in the request. Under `on_error: null`
    the row of a failed image is None. Raises ImagesFailed under `fail` if any image failed.
    """
    count = len(images.indices) + len(images.errors)
    if body.on_error == "fail" and images.errors:
        message = f"{len(images.errors)} of {count} images could not be embedded"
        raise ImagesFailed(message, images.errors, place=place)
    rows = encode(images.vectors, body.encoding_format, body.output_dtype)
    if body.on_error == "null" and images.errors:
        return spread(rows, images.indices, count), list(range(count))
    return rows, images.indices
