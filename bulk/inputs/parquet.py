"""Parquet files, read by row groups and a bounded number of rows at a time."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

import pyarrow as pa
import pyarrow.parquet as pq

from bulk.errors import BadInput
from bulk.inputs.cursor import Cursor
from bulk.location import Location

ROWS_AT_ONCE = 1024
BYTES_AT_ONCE = 16 * 2**20  # of a file, however large its row groups


class ParquetTable:
    """One parquet file. Its footer is kept, and the file is open only while it is read."""

    def __init__(self, location: Location) -> None:
        self._location = location
        try:
            with location.open() as source, pq.ParquetFile(source) as file:
                self._metadata = file.metadata
                self.schema: pa.Schema = file.schema_arrow
        except (pa.ArrowInvalid, OSError) as error:
            raise BadInput(f"{location.uri}: cannot be read as a parquet file") from error
        groups = range(self._metadata.num_row_groups)
        sizes = [self._metadata.row_group(group).num_rows for group in groups]
        self._starts = [0, *accumulate(sizes)][:-1]
        self._cursor = Cursor(self._open_at)

    def count(self, columns: Sequence[str] = ()) -> int:  # noqa: ARG002 - the footer knows
        """See TableFile."""
        return int(self._metadata.num_rows)

    def rows(self, start: int, stop: int, columns: Sequence[str]) -> pa.Table:
        """See TableFile."""
        found = self._cursor.rows(start, stop, columns)
        return pa.concat_tables(found) if found else self.schema.empty_table().select(columns)

    def close(self) -> None:
        """See TableFile."""
        self._cursor.close()

    def _open_at(self, start: int, columns: Sequence[str]) -> tuple[int, Iterator[pa.Table]]:
        group = max(0, bisect_right(self._starts, start) - 1)
        groups = list(range(group, len(self._starts)))
        return self._starts[group], self._pieces(groups, columns)

    def _pieces(self, groups: Sequence[int], columns: Sequence[str]) -> Iterator[pa.Table]:
        with (
            self._location.open() as source,
            pq.ParquetFile(source, metadata=self._metadata, buffer_size=BYTES_AT_ONCE) as file,
        ):
            rows = self._rows_at_once()
            batches = file.iter_batches(rows, row_groups=groups, columns=list(columns))
            for batch in batches:
                yield pa.Table.from_batches([batch])

    def _rows_at_once(self) -> int:
        """How many rows of usual size to read at a time."""
        groups = map(self._metadata.row_group, range(self._metadata.num_row_groups))
        row_bytes = sum(group.total_byte_size for group in groups) / max(1, self.count())
        return max(1, min(ROWS_AT_ONCE, int(BYTES_AT_ONCE / max(1.0, row_bytes))))
