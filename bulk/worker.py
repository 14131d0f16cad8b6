"""The assembly line of one process: one thread reads, some embed, one writes.

Every kind of run uses it. The queues between the threads are bounded, so that memory does not grow
with the input.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from bulk.embedding import embed_rows
from bulk.errors import BadInput, BadOutput, reason_of
from bulk.job import Job, OpenInput
from bulk.outputs.part import Counts
from bulk.room import Room
from bulk.rows import EmbeddedRows, Rows, joined, merged
from common.allowance import Allowance
from common.cancellation import Cancellation
from common.errors import ConnectFailed, ObjectNotFound

CALLS = 4  # at the same time: while one waits for its last image, others use the encoder
PIECES = 2 * CALLS  # that are read but not embedded yet
WAITING_BYTES = 64 * 2**20  # that these take together
SHARDS = 2  # in progress: one is written while the next is embedded
IMAGES_IN_A_PIECE = 64
PIECE_BYTES = WAITING_BYTES // PIECES  # rows that hold images are large
TEXTS_IN_A_PIECE = 2048  # a call encodes texts of like length together

MISSING = {ObjectNotFound.code, ConnectFailed.code}

Note = Callable[[Counts], None]


class Worker:
    """Embeds shards with an embedder of its own."""

    def __init__(self, job: Job, opened: OpenInput | None = None) -> None:
        self._opened = opened or job.open_input()
        self._parts = job.parts()
        self.embedder = job.open_embedder(self._opened.root)
        self._pool = ThreadPoolExecutor(CALLS, "embed")
        self._writer = ThreadPoolExecutor(1, "write")
        self._room = Room(PIECES, WAITING_BYTES)
        self._lock = threading.Lock()
        self._running: set[Cancellation] = set()
        self._failure: BaseException | None = None
        self._is_closed = False
        reader = self._opened.reader
        self._most_rows = IMAGES_IN_A_PIECE if reader.columns.image else TEXTS_IN_A_PIECE
        self._piece_rows = self._fitting(reader.row_bytes)

    def embed(self, shards: Sequence[int], note: Note) -> None:
        """Embed shards and write their parts. `note` gets every piece's counts, in any thread.

        Raises BadInput, BadOutput, ServiceError. Parts that were written stay complete.
        """
        self._work(shards, lambda shard: self._begin(shard, note))

    def retry(self, shards: Sequence[int], note: Note) -> None:
        """Retry the rows whose error is retryable, and write their parts again."""
        self._work(shards, lambda shard: self._begin_again(shard, note))

    def _work(self, shards: Sequence[int], begin: Callable[[int], "Future[None]"]) -> None:
        running: deque[Future[None]] = deque()
        for shard in shards:
            if len(running) == SHARDS:
                running.popleft().result()
            running.append(begin(shard))
        for future in running:
            future.result()

    def _begin(self, shard: int, note: Note) -> "Future[None]":
        futures = [self._submit(rows, note) for rows in self._pieces(shard)]
        return self._writer.submit(self._finish, shard, futures)

    def _pieces(self, shard: int) -> Iterator[Rows]:
        """A shard's rows in pieces. As the rows grow or shrink, so does the number in a piece."""
        start, stop = self._opened.shards.bounds(shard)
        while start < stop:
            rows = self._read(start, min(stop, start + self._piece_rows))
            start += rows.count
            self._piece_rows = min(
                2 * self._piece_rows, self._fitting(rows.size_bytes / rows.count)
            )
            yield rows

    def _fitting(self, row_bytes: float) -> int:
        """How many rows of this size a piece may have."""
        return max(1, min(self._most_rows, int(PIECE_BYTES / max(1.0, row_bytes))))

    def _begin_again(self, shard: int, note: Note) -> "Future[None]":
        written = self._parts.read(shard)
        if written is None:
            return self._begin(shard, note)
        places = sorted(row for row, error in written.errors.items() if error.retryable)
        futures = [self._submit(rows, note) for rows in self._rows_at(shard, places)]
        return self._writer.submit(self._finish, shard, futures, written, places)

    def _rows_at(self, shard: int, places: Sequence[int]) -> Iterator[Rows]:
        """The rows at these places of a shard, in pieces."""
        first, _ = self._opened.shards.bounds(shard)
        for start, stop in self._opened.shards.pieces(shard, self._piece_rows):
            here = [first + row - start for row in places if start <= first + row < stop]
            if here:
                yield self._read(start, stop).taken(here)

    def _read(self, start: int, stop: int) -> Rows:
        return self._opened.reader.read(self._opened.shards.spans(start, stop), start)

    def _submit(self, rows: Rows, note: Note) -> "Future[EmbeddedRows]":
        """Embed a piece once the pool has room. Raises the failure of an earlier piece."""
        size_bytes = rows.size_bytes
        self._room.enter(size_bytes)
        if self._failure is not None:
            raise self._failure
        future = self._pool.submit(self._embed, rows, note)
        future.add_done_callback(lambda future: self._note_end(future, size_bytes))
        return future

    def _note_end(self, future: "Future[EmbeddedRows]", size_bytes: int) -> None:
        if not future.cancelled() and future.exception() is not None:
            self._failure = future.exception()
        self._room.leave(size_bytes)

    def _embed(self, rows: Rows, note: Note) -> EmbeddedRows:
        allowance = Allowance()
        with self._lock:
            self._running.add(allowance.cancellation)
            if self._is_closed:
                allowance.cancellation.cancel()
        try:
            embedded = embed_rows(self.embedder, rows, allowance)
        finally:
            with self._lock:
                self._running.discard(allowance.cancellation)
        self._check_source(embedded)
        note(Counts.of(embedded))
        return embedded

    def _finish(
        self,
        shard: int,
        futures: Sequence["Future[EmbeddedRows]"],
        written: EmbeddedRows | None = None,
        places: Sequence[int] = (),
    ) -> None:
        embedded = joined([future.result() for future in futures])
        if written is not None:
            embedded = merged(written, embedded, places)
        try:
            self._parts.write(shard, embedded)
        except OSError as error:
            raise BadOutput(f"part {shard} cannot be written: {reason_of(error)}") from error

    def _check_source(self, embedded: EmbeddedRows) -> None:
        """A missing file fails one row; a missing input ends the run, with BadInput.

        So does a bucket that no longer answers, for which each row would wait a minute.
        """
        codes = {error.code for error in embedded.errors.values()}
        if not MISSING.isdisjoint(codes) and not self._opened.is_there():
            raise BadInput(f"{self._opened.root.uri}: the input has disappeared")

    def close(self) -> None:
        """End the threads, and cancel what is running."""
        with self._lock:
            self._is_closed = True
            running = list(self._running)
        for cancellation in running:
            cancellation.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._writer.shutdown(wait=False, cancel_futures=True)
        self.embedder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
