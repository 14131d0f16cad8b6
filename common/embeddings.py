"""What comes back of an embedding call."""

from bisect import bisect_left
from dataclasses import dataclass

from common.errors import ItemError
from common.models.spec import Vectors


@dataclass(frozen=True)
class Embeddings:
    """The vectors of the items that could be embedded, and what became of the others.

    `vectors`: (items that worked, dimensions) float32, each row of L2 norm 1, in the items' order.
    `indices`: which item each row belongs to.
    `errors`: one for every item that failed, by index.
    `truncated`: indices of the texts that were cut at the model's context length.
    `tokens`: how many tokens were read of all texts.
    """

    vectors: Vectors
    indices: list[int]
    errors: list[ItemError]
    truncated: list[int]
    tokens: int

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    def split(self, place: int) -> "tuple[Embeddings, Embeddings]":
        """What belongs to the first `place` items, which were texts, and to the images behind them.

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
