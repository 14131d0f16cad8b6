"""Which rows belong to which shard, and which shards to which task. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Span:
    """Rows `start` to `stop` of the input's file number `file`."""

    file: int
    start: int
    stop: int


@dataclass(frozen=True)
class Shards:
    """Rows of files, numbered through, cut into shards of `shard_rows`; the last may be shorter."""

    rows_by_file: Sequence[int]
    shard_rows: int

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(self.rows_by_file)

    @property
    def count(self) -> int:
        """How many shards there are."""
        return -(-self.rows // self.shard_rows)

    def bounds(self, shard: int) -> tuple[int, int]:
        """The first row of a shard, and the row behind its last."""
        start = shard * self.shard_rows
        return start, min(start + self.shard_rows, self.rows)

    def spans(self, shard: int) -> list[Span]:
        """The shard's rows as parts of files, in order."""
        start, stop = self.bounds(shard)
        ends = list(accumulate(self.rows_by_file))
        spans = []
        file = bisect_right(ends, start)
        while start < stop:
            first = ends[file] - self.rows_by_file[file]
            end = min(stop, ends[file])
            if end > start:
                spans.append(Span(file, start - first, end - first))
            start = end
            file += 1
        return spans


def shards_of_task(count: int, task: int, tasks: int) -> range:
    """The shards of task number `task` of `tasks`, counted from 0."""
    return range(task, count, tasks)
