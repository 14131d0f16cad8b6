"""The result of an embedding call."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.batcher import Vector
from common.cache import EncodedText
from common.errors import EmbeddingError, ImageError, ItemError
from common.images.url_policy import redact
from common.items import ImageBytes, ImageUrl, Item, Text
from common.models.spec import Vectors

Outcome = Vector | EncodedText | Exception  # an image's, a text's, a failed item's


@dataclass(frozen=True)
class Embeddings:
    """The vectors of the embedded items, and an error for each failed item.

    `vectors`: (embedded items, dimensions) float32, rows of L2 norm 1, in the items' order.
    `indices`: the index of the item that each row belongs to.
    `errors`: one ItemError for each failed item, in order of their indices.
    `truncated`: indices of the texts that were cut at the model's context length.
    `tokens`: the number of tokens read from all texts.
    """

    vectors: Vectors
    indices: list[int]
    errors: list[ItemError]
    truncated: list[int]
    tokens: int

    @property
    def dimensions(self) -> int:
        """The length of each vector."""
        return int(self.vectors.shape[1])

    def split(self, place: int) -> "tuple[Embeddings, Embeddings]":
        """Split into the results of the first `place` items, which are texts, and of the images.

        The second part counts its items from 0.
        """
        row = bisect_left(self.indices, place)
        images = Embeddings(
            self.vectors[row:],
            [index - place for index in self.indices[row:]],
            [error.at(error.index - place) for error in self.errors if error.index >= place],
            [],
            0,
        )
        errors = [error for error in self.errors if error.index < place]
        texts = Embeddings(
            self.vectors[:row], self.indices[:row], errors, self.truncated, self.tokens
        )
        return texts, images


def gather(
    items: Sequence[Item],
    outcomes: Mapping[Item, Outcome],
    dimensions: int,
) -> Embeddings:
    """Collect the outcome of each item, in the order of `items`; equal items share one."""
    rows: list[Vector] = []
    result = Embeddings(np.empty((0, dimensions), np.float32), [], [], [], 0)
    tokens = 0
    for index, item in enumerate(items):
        outcome = outcomes[item]
        if isinstance(outcome, Exception):
            result.errors.append(_item_error(index, item, outcome))
            continue
        if isinstance(outcome, EncodedText):
            tokens += outcome.tokens
            if outcome.truncated:
                result.truncated.append(index)
            outcome = outcome.vector
        result.indices.append(index)
        rows.append(outcome)
    vectors = np.stack(rows) if rows else result.vectors
    return Embeddings(vectors, result.indices, result.errors, result.truncated, tokens)


def _item_error(index: int, item: Item, error: Exception) -> ItemError:
    if isinstance(error, ImageError):
        return ItemError(index, _shown(item), error.code, str(error), error.retryable)
    detail = str(error) if isinstance(error, EmbeddingError) else "this text could not be encoded"
    return ItemError(index, "", EmbeddingError.code, detail, retryable=False)


def _shown(item: Item) -> str:
    """The name of an image in an error: its redacted URL or its file name."""
    match item:
        case ImageUrl(url):
            return redact(url)
        case ImageBytes(_, name):
            return name
        case Text():
            return ""
