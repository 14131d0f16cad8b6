"""Parquet files, read by row groups and a bounded number of rows at a time.

Rows that are damaged become gaps. The rest of their row group cannot be read either.
"""

import errno
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import pyarrow as pa
import pyarrow.parquet as pq

from bulk.errors import BadInput, reason_of
from bulk.footer import footer_of
from bulk.inputs.cursor import Cursor
from bulk.inputs.tables import Gap
from bulk.location import Location

ROWS_AT_ONCE = 1024
BYTES_AT_ONCE = 16 * 2**20  # of a file, however large its row groups


@dataclass(frozen=True)
class Damage:
    """From which row on a row group cannot be read, and why."""

    first_row: int
    reason: str


class ParquetTable:
    """One parquet file. Its footer is kept, and the file is open only while it is read."""

    def __init__(self, location: Location) -> None:
        self._location = location
        try:
            self._metadata = footer_of(location)
            self._size_bytes = location.seen().size
            self.schema: pa.Schema = self._metadata.schema.to_arrow_schema()
        except (pa.ArrowInvalid, OSError) as error:
            raise BadInput(f"{location.uri}: cannot be read as a parquet file") from error
        groups = range(self._metadata.num_row_groups)
        sizes = [self._metadata.row_group(group).num_rows for group in groups]
        self._starts = [0, *accumulate(sizes)]  # of each group, and the end of the last
        self._damaged: dict[int, Damage] = {}  # by row groups
        self._cursor = Cursor(self._open_at)

    def count(self, columns: Sequence[str] = ()) -> int:  # noqa: ARG002 - the footer knows
        """See TableFile."""
        return int(self._metadata.num_rows)

    def rows(self, start: int, stop: int, columns: Sequence[str]) -> list[pa.Table | Gap]:
        """See TableFile."""
        found: list[pa.Table | Gap] = []
        while start < stop:
            group = bisect_right(self._starts, start) - 1
            end = min(stop, self._starts[group + 1]) if group < len(self._starts) - 1 else stop
            found += self._rows_of_group(group, start, end, columns)
            start = end
        return found

    def _rows_of_group(
        self, group: int, start: int, stop: int, columns: Sequence[str]
    ) -> list[pa.Table | Gap]:
        damage = self._damaged.get(group)
        readable = min(stop, max(start, damage.first_row)) if damage else stop
        found: list[pa.Table | Gap] = []
        try:
            if start < readable:
                found += self._cursor.rows(start, readable, columns)
        except (pa.ArrowInvalid, OSError) as error:
            self._cursor.close()
            self._check_damaged(error)
            damage, readable = Damage(start, _reason(group, error)), start
            self._damaged[group] = damage
        if damage and readable < stop:
            found.append(Gap(stop - readable, damage.reason))
        return found

    def _check_damaged(self, error: Exception) -> None:
        """Pass on an error of the machine. Raises BadInput if the file has changed."""
        if isinstance(error, OSError) and error.errno not in (None, errno.EIO):
            raise error
        info = self._location.info()
        if not info.is_file or info.size != self._size_bytes:
            raise BadInput(f"{self._location.uri}: has changed during the run") from error

    def close(self) -> None:
        """See TableFile."""
        self._cursor.close()

    def _open_at(self, start: int, columns: Sequence[str]) -> tuple[int, Iterator[pa.Table]]:
        group = max(0, bisect_right(self._starts, start) - 1)
        groups = list(range(group, len(self._starts) - 1))
        return self._starts[group], self._pieces(groups, columns)

    def _pieces(self, groups: Sequence[int], columns: Sequence[str]) -> Iterator[pa.Table]:
        """The groups' rows, each group for itself, so that one that is damaged spares the others.

        Without `pre_buffer=False`, the file would be in memory as a whole.
        """
        rows = self._rows_at_once()
        with (
            self._location.open() as source,
            pq.ParquetFile(
                source, metadata=self._metadata, buffer_size=BYTES_AT_ONCE, pre_buffer=False
            ) as file,
        ):
            for group in groups:
                for batch in file.iter_batches(rows, row_groups=[group], columns=list(columns)):
                    yield pa.Table.from_batches([batch])

    def _rows_at_once(self) -> int:
        """How many rows of usual size to read at a time."""
        groups = map(self._metadata.row_group, range(self._metadata.num_row_groups))
        row_bytes = sum(group.total_byte_size for group in groups) / max(1, self.count())
        return max(1, min(ROWS_AT_ONCE, int(BYTES_AT_ONCE / max(1.0, row_bytes))))


def _reason(group: int, error: Exception) -> str:
    why = reason_of(error) if isinstance(error, OSError) else str(error).splitlines()[0]
    return f"row group {group} of the parquet file is damaged: {why}"
