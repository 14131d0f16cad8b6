"""The rows of a shard, as read and as embedded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from common.errors import ItemError
from common.items import Image, ImageBytes
from common.models.spec import Vectors


@dataclass(frozen=True)
class Rows:
    """Rows to embed. `kept` holds the id and the columns to keep.

    `texts` or `images` is None if the input has no such column. An entry is None if the row has
    nothing to embed there. `unreadable` says of rows, by their places, why they cannot be read.
    """

    kept: pa.Table
    texts: Sequence[str | None] | None = None
    images: Sequence[Image | None] | None = None
    unreadable: Mapping[int, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return int(self.kept.num_rows)

    @property
    def size_bytes(self) -> int:
        """About how much memory the rows take."""
        texts = sum(len(text) for text in self.texts or () if text)
        images = sum(_size(image) for image in self.images or () if image)
        return int(self.kept.nbytes) + texts + images

    def taken(self, places: Sequence[int]) -> "Rows":
        """The rows at these places."""
        texts = None if self.texts is None else [self.texts[row] for row in places]
        images = None if self.images is None else [self.images[row] for row in places]
        unreadable = {
            at: self.unreadable[row] for at, row in enumerate(places) if row in self.unreadable
        }
        return Rows(self.kept.take(pa.array(places, pa.int64())), texts, images, unreadable)


@dataclass(frozen=True)
class Column:
    """The vectors of one kind, one per row: (rows, dimensions) float32.

    A vector is zeros where `worked` is False.
    """

    vectors: Vectors
    worked: NDArray[np.bool_]

    def widened(self, dimensions: int) -> "Column":
        """The same column, or zeros of that length if it has no vector to tell its length."""
        if self.vectors.shape[1]:
            return self
        return Column(np.zeros((len(self.vectors), dimensions), np.float32), self.worked)


@dataclass(frozen=True)
class EmbeddedRows:
    """Rows with their vectors. `errors` has an entry for each row that failed."""

    kept: pa.Table
    text: Column | None
    image: Column | None
    truncated: NDArray[np.bool_]
    errors: dict[int, ItemError]

    @property
    def count(self) -> int:
        """How many rows there are."""
        return int(self.kept.num_rows)


def joined(parts: Sequence[EmbeddedRows]) -> EmbeddedRows:
    """The rows of all parts, one after the other."""
    errors: dict[int, ItemError] = {}
    start = 0
    for part in parts:
        errors.update((start + row, error.at(start + row)) for row, error in part.errors.items())
        start += part.count
    return EmbeddedRows(
        pa.concat_tables([part.kept for part in parts]),
        _joined([part.text for part in parts]),
        _joined([part.image for part in parts]),
        np.concatenate([part.truncated for part in parts]),
        errors,
    )


def merged(written: EmbeddedRows, again: EmbeddedRows, places: Sequence[int]) -> EmbeddedRows:
    """`written` with the rows of `again` at these places."""
    tried = set(places)
    errors = {row: error for row, error in written.errors.items() if row not in tried}
    errors |= {places[row]: error.at(places[row]) for row, error in again.errors.items()}
    truncated = written.truncated.copy()
    truncated[list(places)] = again.truncated
    text = _merged(written.text, again.text, places)
    image = _merged(written.image, again.image, places)
    return EmbeddedRows(_replaced(written.kept, again.kept, places), text, image, truncated, errors)


def _replaced(written: pa.Table, again: pa.Table, places: Sequence[int]) -> pa.Table:
    """Rows that could not be read have nulls for an id until they are read again."""
    order = np.arange(written.num_rows)
    order[list(places)] = written.num_rows + np.arange(len(places))
    return pa.concat_tables([written, again.cast(written.schema)]).take(pa.array(order))


def _joined(columns: Sequence[Column | None]) -> Column | None:
    there = [column for column in columns if column is not None]
    if not there:
        return None
    dimensions = max(column.vectors.shape[1] for column in there)
    vectors = [column.widened(dimensions).vectors for column in there]
    return Column(np.concatenate(vectors), np.concatenate([column.worked for column in there]))


def _merged(written: Column | None, again: Column | None, places: Sequence[int]) -> Column | None:
    if written is None or again is None:
        return written
    old = written.widened(again.vectors.shape[1])
    vectors, worked = old.vectors.copy(), old.worked.copy()
    at = [place for place, ok in zip(places, again.worked, strict=True) if ok]
    vectors[at] = again.vectors[again.worked]
    worked[at] = True
    return Column(vectors, worked)


def _size(image: Image) -> int:
    return len(image.data if isinstance(image, ImageBytes) else image.url)
