"""Divides rows into shards, and shards among tasks. Pure."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate


@dataclass(frozen=True)
class Span:
    """Rows `start` to `stop` of the input's file number `file`."""

    file: int
    start: int
    stop: int


@dataclass(frozen=True)
class Shards:
    """The rows of all files, cut into shards of `shard_rows`. The last may be shorter."""

    rows_by_file: Sequence[int]
    shard_rows: int

    @property
    def rows(self) -> int:
        """The number of all rows."""
        return self._ends[-1] if self._ends else 0

    @property
    def count(self) -> int:
        """How many shards there are."""
        return -(-self.rows // self.shard_rows)

    @cached_property
    def _ends(self) -> list[int]:
        """For each file, the number of the row after its last."""
        return list(accumulate(self.rows_by_file))

    def bounds(self, shard: int) -> tuple[int, int]:
        """The first row of a shard, and the row after its last."""
        start = shard * self.shard_rows
        return start, min(start + self.shard_rows, self.rows)

    def pieces(self, shard: int, piece_rows: int) -> Iterator[tuple[int, int]]:
        """The shard cut into pieces: the first row of each, and the row after its last."""
        start, stop = self.bounds(shard)
        for first in range(start, stop, piece_rows):
            yield first, min(first + piece_rows, stop)

    def spans(self, start: int, stop: int) -> list[Span]:
        """Rows `start` to `stop` as parts of files, in order."""
        spans = []
        file = bisect_right(self._ends, start)
        while start < stop:
            first = self._ends[file] - self.rows_by_file[file]
            end = min(stop, self._ends[file])
            if end > start:
                spans.append(Span(file, start - first, end - first))
            start = end
            file += 1
        return spans


def shards_of_task(count: int, task: int, tasks: int) -> range:
    """The shards of task number `task` of `tasks`, counted from 0."""
    return range(task, count, tasks)
