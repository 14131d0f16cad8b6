"""Embeds one shard at a time: read, embed, write. Every way to run is made of this."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import numpy as np

from bulk.embedding import RowEmbedder
from bulk.job import Job, OpenInput
from bulk.outputs.part import Counts
from bulk.rows import Column, EmbeddedRows, Rows

CALLS = 4  # that embed at a time: while one waits for its last image, others keep the encoder busy


class Worker:
    """Holds a loaded embedder. Threads may share it."""

    def __init__(self, job: Job, opened: OpenInput | None = None) -> None:
        self._opened = opened or job.open_input()
        self._parts = job.parts()
        self.embedder = job.open_embedder(self._opened.root)
        self._pool = ThreadPoolExecutor(CALLS, "embed")
        self._rows = RowEmbedder(self.embedder, self._pool)

    def embed(self, shard: int) -> Counts:
        """Embed a shard and write its part. Raises BadInput, ServiceError, OSError."""
        embedded = self._rows.embed(self._read(shard))
        self._parts.write(shard, embedded)
        return Counts.of(embedded)

    def retry(self, shard: int) -> Counts:
        """Try the rows of a part again whose error is retryable, and write the part anew."""
        written = self._parts.read(shard)
        if written is None:
            return self.embed(shard)
        places = [row for row, error in written.errors.items() if error.retryable]
        again = self._rows.embed(_taken(self._read(shard), places))
        healed = _merged(written, again, places)
        self._parts.write(shard, healed)
        return Counts.of(healed)

    def _read(self, shard: int) -> Rows:
        shards = self._opened.shards
        first_row, _ = shards.bounds(shard)
        return self._opened.reader.read(shards.spans(shard), first_row)

    def close(self) -> None:
        """End the threads; what has not begun is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self.embedder.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _taken(rows: Rows, places: Sequence[int]) -> Rows:
    """The rows at these places."""
    texts = None if rows.texts is None else [rows.texts[row] for row in places]
    images = None if rows.images is None else [rows.images[row] for row in places]
    return Rows(rows.kept.take(list(places)), texts, images)


def _merged(written: EmbeddedRows, again: EmbeddedRows, places: Sequence[int]) -> EmbeddedRows:
    """`written` with the rows of `again` at their places."""
    errors = {row: error for row, error in written.errors.items() if not error.retryable}
    errors |= {places[row]: error.at(places[row]) for row, error in again.errors.items()}
    truncated = written.truncated.copy()
    truncated[places] = again.truncated
    text = _merged_column(written.text, again.text, places)
    image = _merged_column(written.image, again.image, places)
    return EmbeddedRows(written.kept, text, image, truncated, errors)


def _merged_column(
    written: Column | None, again: Column | None, places: Sequence[int]
) -> Column | None:
    if written is None or again is None:
        return written
    vectors = written.vectors
    if not vectors.shape[1]:  # none worked before, so the length of a vector was not known
        vectors = np.zeros((len(vectors), again.vectors.shape[1]), np.float32)
    vectors, worked = vectors.copy(), written.worked.copy()
    at = [place for place, ok in zip(places, again.worked, strict=True) if ok]
    vectors[at] = again.vectors[again.worked]
    worked[at] = True
    return Column(vectors, worked)
