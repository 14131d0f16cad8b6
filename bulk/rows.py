"""The rows of a shard, as read and as embedded."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from common.errors import ItemError
from common.items import Image
from common.models.spec import Vectors


@dataclass(frozen=True)
class Rows:
    """`kept` holds the id and the columns to keep. None for `texts` or `images`: there is no such column.

    A None inside them is a row that has nothing to embed there.
    """

    kept: pa.Table
    texts: Sequence[str | None] | None = None
    images: Sequence[Image | None] | None = None

    @property
    def count(self) -> int:
        """How many rows there are."""
        return int(self.kept.num_rows)


@dataclass(frozen=True)
class Column:
    """The vectors of one kind, a row each: (rows, dimensions) float32, zeros where `worked` is False."""

    vectors: Vectors
    worked: NDArray[np.bool_]


@dataclass(frozen=True)
class EmbeddedRows:
    """A shard's rows with their vectors. `errors` has an entry for each row that failed."""

    kept: pa.Table
    text: Column | None
    image: Column | None
    truncated: NDArray[np.bool_]
    errors: dict[int, ItemError]
