"""A position in a table that is read piece by piece, from its start to its end."""

import threading
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

# Opens a table at or before a row. Returns the number of the first row, and the rows in pieces.
OpenAt = Callable[[int, Sequence[str]], tuple[int, Iterator[pa.Table]]]


class Cursor:
    """Reads rows in order. To go back, it opens the table again."""

    def __init__(self, open_at: OpenAt) -> None:
        self._open_at = open_at
        self._lock = threading.Lock()
        self._pieces: Iterator[pa.Table] = iter(())
        self._piece: pa.Table | None = None
        self._first = 0  # the number of the piece's first row
        self._columns: Sequence[str] = ()

    def rows(self, start: int, stop: int, columns: Sequence[str]) -> list[pa.Table]:
        """Rows `start` to `stop` in pieces; fewer if the table ends before."""
        found: list[pa.Table] = []
        with self._lock:
            if self._piece is None or start < self._first or columns != self._columns:
                self._restart(start, columns)
            while self._piece is not None and start < stop:
                end = self._first + self._piece.num_rows
                if start < end:
                    part = self._piece.slice(start - self._first, min(stop, end) - start)
                    found.append(part)
                    start += part.num_rows
                if start < stop:
                    self._first = end
                    self._piece = next(self._pieces, None)
        return found

    def close(self) -> None:
        """Let go of the open file and of the rows in memory. A later read opens the table again."""
        with self._lock:
            self._pieces, self._piece = iter(()), None

    def _restart(self, start: int, columns: Sequence[str]) -> None:
        self._columns = columns
        self._first, self._pieces = self._open_at(start, columns)
        self._piece = next(self._pieces, None)
