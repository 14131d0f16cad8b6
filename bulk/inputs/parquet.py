"""Parquet files, read by row groups."""

import threading
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from bulk.errors import BadInput
from bulk.location import Location


class ParquetTable:
    """One parquet file; it stays open, so that its footer is read once."""

    def __init__(self, location: Location) -> None:
        try:
            self._file = pq.ParquetFile(location.open())
        except (pa.ArrowInvalid, OSError) as error:
            raise BadInput(f"{location.uri}: not a parquet file that can be read") from error
        self._lock = threading.Lock()
        metadata = self._file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._groups = list(zip(_starts(sizes), sizes, strict=True))
        self.schema: pa.Schema = self._file.schema_arrow

    def count(self) -> int:
        """See TableFile."""
        return int(self._file.metadata.num_rows)

    def rows(self, start: int, stop: int, columns: Sequence[str]) -> pa.Table:
        """See TableFile."""
        touched = [
            (number, first)
            for number, (first, size) in enumerate(self._groups)
            if first < stop and first + size > start
        ]
        with self._lock:
            table = self._file.read_row_groups([number for number, _ in touched], list(columns))
        return table.slice(start - touched[0][1], stop - start)


def _starts(sizes: Sequence[int]) -> list[int]:
    starts, start = [], 0
    for size in sizes:
        starts.append(start)
        start += size
    return starts
