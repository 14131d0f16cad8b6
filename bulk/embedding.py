"""A shard's rows to vectors, some at a time, side by side."""

from collections.abc import Sequence
from concurrent.futures import Executor, Future

import numpy as np
from numpy.typing import NDArray

from bulk.rows import Column, EmbeddedRows, Rows
from common.embedder import Embedder
from common.embeddings import Embeddings
from common.errors import ItemError
from common.items import Item, Text

TEXTS_AT_ONCE = 512  # sorted by length inside a call, so that batches hold texts of like length
IMAGES_AT_ONCE = 64
EMPTY = "empty"
NOTHING_TO_EMBED = "the row has neither a text nor an image"

Call = tuple[list[int], "Future[Embeddings]"]  # the rows of its items, and what comes of them


class RowEmbedder:
    """Embeds rows with one embedder; `pool` runs several calls at a time."""

    def __init__(self, embedder: Embedder, pool: Executor) -> None:
        self._embedder = embedder
        self._pool = pool

    def embed(self, rows: Rows) -> EmbeddedRows:
        """The rows with their vectors; a row that fails has an error in their place.

        Raises ServiceError if the model itself cannot be used.
        """
        texts = rows.texts and [None if text is None else Text(text) for text in rows.texts]
        calls = [
            None if items is None else self._start(items, at_once)
            for items, at_once in ((texts, TEXTS_AT_ONCE), (rows.images, IMAGES_AT_ONCE))
        ]
        truncated = np.zeros(rows.count, np.bool_)
        errors: dict[int, ItemError] = {}
        try:
            text, image = (_collect(these, rows.count, errors, truncated) for these in calls)
        finally:
            for _, future in (call for these in calls for call in these or ()):
                future.cancel()
        for row in _rows_without_items(rows):
            errors[row] = ItemError(row, "", EMPTY, NOTHING_TO_EMBED, retryable=False)
        return EmbeddedRows(rows.kept, text, image, truncated, errors)

    def _start(self, items: Sequence[Item | None], at_once: int) -> list[Call]:
        places = [row for row, item in enumerate(items) if item is not None]
        calls = []
        for start in range(0, len(places), at_once):
            rows = places[start : start + at_once]
            given = [item for row in rows if (item := items[row]) is not None]
            calls.append((rows, self._pool.submit(self._embedder.embed, given)))
        return calls


def _collect(
    calls: list[Call] | None,
    count: int,
    errors: dict[int, ItemError],
    truncated: NDArray[np.bool_],
) -> Column | None:
    """The vectors of all calls at their rows; adds to `errors` and `truncated`."""
    if calls is None:
        return None
    worked = np.zeros(count, np.bool_)
    vectors = np.empty((count, 0), np.float32)
    for rows, future in calls:
        result = future.result()
        if not vectors.shape[1]:
            vectors = np.zeros((count, result.dimensions), np.float32)
        places = [rows[index] for index in result.indices]
        vectors[places] = result.vectors
        worked[places] = True
        truncated[[rows[index] for index in result.truncated]] = True
        for error in result.errors:
            errors[rows[error.index]] = error.at(rows[error.index])
    return Column(vectors, worked)


def _rows_without_items(rows: Rows) -> list[int]:
    texts = rows.texts or [None] * rows.count
    images = rows.images or [None] * rows.count
    return [row for row in range(rows.count) if texts[row] is None and images[row] is None]
