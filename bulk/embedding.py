"""Embeds rows in one call of the embedder."""

from collections.abc import Sequence

import numpy as np

from bulk.rows import Column, EmbeddedRows, Rows
from common.allowance import Allowance
from common.embedder import Embedder
from common.embeddings import Embeddings
from common.errors import ItemError
from common.items import Text

EMPTY, UNREADABLE = "empty", "unreadable"
NOTHING_TO_EMBED = "the row has neither a text nor an image"


def embed_rows(embedder: Embedder, rows: Rows, allowance: Allowance) -> EmbeddedRows:
    """The rows with their vectors. A row that fails has an error instead.

    Raises ServiceError if the model itself cannot be used.
    """
    texts = [(row, Text(text)) for row, text in enumerate(rows.texts or ()) if text is not None]
    images = [(row, image) for row, image in enumerate(rows.images or ()) if image is not None]
    items = [item for _, item in [*texts, *images]]
    text_result, image_result = embedder.embed(items, allowance).split(len(texts))
    truncated = np.zeros(rows.count, np.bool_)
    errors: dict[int, ItemError] = {}
    places = [row for row, _ in texts]
    text = None if rows.texts is None else _column(text_result, places, rows.count, errors)
    truncated[[places[index] for index in text_result.truncated]] = True
    places = [row for row, _ in images]
    image = None if rows.images is None else _column(image_result, places, rows.count, errors)
    for row in {*range(rows.count)} - {row for row, _ in [*texts, *images]}:
        errors[row] = _nothing(rows, row)
    return EmbeddedRows(rows.kept, text, image, truncated, errors)


def _nothing(rows: Rows, row: int) -> ItemError:
    """Why a row has neither a text nor an image. A file that is repaired may be read again."""
    if reason := rows.unreadable.get(row):
        return ItemError(row, "", UNREADABLE, reason, retryable=True)
    return ItemError(row, "", EMPTY, NOTHING_TO_EMBED, retryable=False)


def _column(
    result: Embeddings, places: Sequence[int], count: int, errors: dict[int, ItemError]
) -> Column:
    """The result's vectors, each at the row that `places` gives; adds its failures to `errors`."""
    vectors = np.zeros((count, result.dimensions), np.float32)
    worked = np.zeros(count, np.bool_)
    rows = [places[index] for index in result.indices]
    vectors[rows] = result.vectors
    worked[rows] = True
    errors.update((places[error.index], error.at(places[error.index])) for error in result.errors)
    return Column(vectors, worked)
