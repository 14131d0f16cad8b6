"""What the native routes with images share: the rows of an answer, as `on_error` asks."""

from collections.abc import Callable

from common.embeddings import Embeddings
from common.encoding import Rows, encode, spread
from functions.errors import ImagesFailed
from functions.schemas import EmbeddingRequest, OnError


class ImagesRequest(EmbeddingRequest):
    """How the vectors shall be written, and what a failed image costs."""

    on_error: OnError = "skip"


def image_rows(
    images: Embeddings,
    body: ImagesRequest,
    place: Callable[[int], tuple[str, int]] = lambda index: ("urls", index),
) -> tuple[Rows, list[int]]:
    """Rows in the form that `body` asks for, and the image each belongs to.

    `place` names the field of an image and its place there. Under `null` a None keeps a failed
    one's place. Raises ImagesFailed under `fail` if any failed.
    """
    count = len(images.indices) + len(images.errors)
    if body.on_error == "fail" and images.errors:
        message = f"{len(images.errors)} of {count} images could not be embedded"
        raise ImagesFailed(message, images.errors, place=place)
    rows = encode(images.vectors, body.encoding_format, body.output_dtype)
    if body.on_error == "null" and images.errors:
        return spread(rows, images.indices, count), list(range(count))
    return rows, images.indices
