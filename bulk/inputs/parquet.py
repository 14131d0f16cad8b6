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


class ParquetTable:
    """One parquet file; it stays open, so that its footer is read once."""

    def __init__(self, location: Location) -> None:
        try:
            self._file = pq.ParquetFile(location.open())
        except (pa.ArrowInvalid, OSError) as error:
            raise BadInput(f"{location.uri}: cannot be read as a parquet file") from error
        metadata = self._file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._starts = [0, *accumulate(sizes)][:-1]
        self._cursor = Cursor(self._open_at)
        self.schema: pa.Schema = self._file.schema_arrow

    def count(self) -> int:
        """See TableFile."""
        return int(self._file.metadata.num_rows)

    def rows(self, start: int, stop: int, columns: Sequence[str]) -> pa.Table:
        """See TableFile."""
        found = self._cursor.rows(start, stop, columns)
        return pa.concat_tables(found) if found else self.schema.empty_table().select(columns)

    def _open_at(self, start: int, columns: Sequence[str]) -> tuple[int, Iterator[pa.Table]]:
        group = max(0, bisect_right(self._starts, start) - 1)
        groups = list(range(group, len(self._starts)))
        batches = self._file.iter_batches(ROWS_AT_ONCE, row_groups=groups, columns=list(columns))
        return self._starts[group], (pa.Table.from_batches([batch]) for batch in batches)
