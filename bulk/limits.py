"""Limits of the command line: on failed rows, and on the memory of shards."""

import re
from dataclasses import dataclass

from bulk.errors import BulkError
from bulk.inputs.reader import Columns
from bulk.inputs.tables import ROW

ADDED = ("text_vector", "image_vector", "text_embedded", "image_embedded", "truncated", "error")
MAX_FAILURES = re.compile(r"(\d{1,9})(%?)")
FLOAT_BYTES = 4
COPIES = 4  # of a vector: as embedded, joined, in the part's type, in the file's bytes
SHARDS = 3  # being embedded, being joined, being written
USABLE = 0.5  # of the machine's memory; the model and the images need the rest
USUAL_DIMENSIONS = 1024  # of a model whose dimensions are not known before it is loaded


@dataclass(frozen=True)
class AllowedFailures:
    """How many rows may fail."""

    number: int
    is_percentage: bool

    @classmethod
    def of(cls, given: str) -> "AllowedFailures":
        """`10` or `1%`. Raises BulkError."""
        match = MAX_FAILURES.fullmatch(given)
        if not match:
            raise BulkError(f"--max-failures is {given!r}: must be a number of rows, or such as 1%")
        return cls(int(match[1]), bool(match[2]))

    def permits(self, failures: int, rows: int) -> bool:
        """Whether so many failures of so many rows are allowed."""
        return failures <= self.number * (rows / 100 if self.is_percentage else 1)


def check_names(columns: Columns) -> None:
    """Raises BulkError if a column of the input has the name of one that the output adds."""
    for name in (columns.id, *columns.keep):
        if name in ADDED or (name == ROW and not columns.id):
            raise BulkError(f"column {name!r}: the output has one of its own; rename the input's")


def check_memory(shard_rows: int, rows: int, vector_floats: int, memory_bytes: int) -> None:
    """Raises BulkError if the vectors of the shards in progress do not fit into memory.

    `vector_floats` is the length of all vectors of one row.
    """
    row_bytes = vector_floats * FLOAT_BYTES * COPIES * SHARDS
    most = int(memory_bytes * USABLE / row_bytes)
    if min(shard_rows, rows) > most:
        raise BulkError(
            f"--shard-rows is {shard_rows:,}: the vectors of these shards take"
            f" {min(shard_rows, rows) * row_bytes / 2**30:.0f} GiB and this machine has"
            f" {memory_bytes / 2**30:.0f} GiB; give at most {most:,}"
        )
