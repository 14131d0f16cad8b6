"""What comes back of an embedding call."""

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
