"""CSV, JSON Lines and text files. They have no index, so they are read from their start.

A read of later rows continues where the last one stopped.
"""

import codecs
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.csv

from bulk.errors import BadInput
from bulk.inputs.cursor import Cursor
from bulk.location import Location

LINE = "line"  # the one column of a text file
BLOCK_BYTES = 8 * 2**20
SAMPLE_ROWS = 10_000  # of a JSON Lines file, whose columns' types are those of its first rows
LINES_AT_ONCE = 4096
MAX_LINE_BYTES = 64 * 2**20
STRADDLING = "straddling object"  # what pyarrow says of a row that does not fit into a block


class Batches(Protocol):
    """How one kind of file is read from its start."""

    def schema(self, location: Location) -> pa.Schema:
        """The columns and their types. Raises BadInput."""
        ...

    def checked(self, columns: Sequence[str]) -> Sequence[str]:
        """The columns to read where rows are counted: those whose values may be unreadable."""
        ...

    def tables(self, location: Location, columns: Sequence[str]) -> Iterator[pa.Table]:
        """All rows in pieces, with these columns."""
        ...


class StreamTable:
    """One file that is read from its start."""

    def __init__(self, location: Location, batches: Batches) -> None:
        self._location = location
        self._batches = batches
        self._cursor = Cursor(self._open_at)
        self.schema: pa.Schema = batches.schema(location)

    def count(self, columns: Sequence[str]) -> int:
        """See TableFile."""
        pieces = self._batches.tables(self._location, self._batches.checked(columns))
        try:
            return sum(piece.num_rows for piece in pieces)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise BadInput(f"{self._location.uri}: cannot be read: {error}") from error

    def rows(self, start: int, stop: int, columns: Sequence[str]) -> list[pa.Table]:
        """See TableFile. A damaged file is found while its rows are counted."""
        return self._cursor.rows(start, stop, columns)

    def close(self) -> None:
        """See TableFile."""
        self._cursor.close()

    def _open_at(self, start: int, columns: Sequence[str]) -> tuple[int, Iterator[pa.Table]]:  # noqa: ARG002
        return 0, self._batches.tables(self._location, columns)


READ = pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES)
PARSE = pyarrow.csv.ParseOptions(newlines_in_values=True)


class CsvBatches:
    """CSV with a header. Every column is read as text: numbers keep their spelling."""

    def schema(self, location: Location) -> pa.Schema:
        """See Batches."""
        with self._open(location, None) as reader:
            return pa.schema([(name, pa.string()) for name in reader.schema.names])

    def checked(self, columns: Sequence[str]) -> Sequence[str]:
        """See Batches."""
        return columns

    def tables(self, location: Location, columns: Sequence[str]) -> Iterator[pa.Table]:
        """See Batches."""
        try:
            with self._open(location, columns) as reader:
                for batch in reader:
                    yield pa.Table.from_batches([batch])
        except pa.ArrowInvalid as error:
            raise _not_csv(location, error) from error

    def _open(self, location: Location, columns: Sequence[str] | None) -> Any:
        names = columns if columns is not None else self._names(location)
        try:
            return pyarrow.csv.open_csv(
                location.filesystem.open_input_stream(location.path),
                READ,
                PARSE,
                pyarrow.csv.ConvertOptions(
                    include_columns=list(names),
                    column_types={name: pa.string() for name in names},
                    strings_can_be_null=True,
                    null_values=[""],
                    quoted_strings_can_be_null=False,
                ),
            )
        except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
            raise _not_csv(location, error) from error

    def _names(self, location: Location) -> list[str]:
        stream = location.filesystem.open_input_stream(location.path)
        try:
            names: list[str] = pyarrow.csv.open_csv(stream, READ, PARSE).schema.names
        except pa.ArrowInvalid as error:
            raise _not_csv(location, error) from error
        return names


def _not_csv(location: Location, error: Exception) -> BadInput:
    if STRADDLING in str(error):
        return BadInput(f"{location.uri}: a row is longer than {BLOCK_BYTES:,} bytes")
    return BadInput(f"{location.uri}: cannot be read as CSV with a header and commas: {error}")


class JsonLinesBatches:
    """One JSON object per line. A key that a line lacks is null in its row."""

    def schema(self, location: Location) -> pa.Schema:
        """See Batches. The types are those of the first rows."""
        rows: list[dict[str, Any]] = []
        for piece in self._pieces(location):
            rows += piece
            if len(rows) >= SAMPLE_ROWS:
                break
        names = dict.fromkeys(name for row in rows for name in row)
        return pa.schema([(name, _type_of(name, rows, location.uri)) for name in names])

    def checked(self, columns: Sequence[str]) -> Sequence[str]:
        """See Batches."""
        return columns

    def tables(self, location: Location, columns: Sequence[str]) -> Iterator[pa.Table]:
        """See Batches."""
        schema = self.schema(location)
        fields = pa.schema([schema.field(name) for name in columns])
        for rows in self._pieces(location):
            yield pa.Table.from_pylist(rows, fields)

    def _pieces(self, location: Location) -> Iterator[list[dict[str, Any]]]:
        number = 0
        for lines in lines_of(location):
            rows = []
            for line in lines:
                number += 1
                rows.append(_object(line, f"{location.uri}: line {number}"))
            yield rows


class LineBatches:
    """A text file: each line that is not empty is a row."""

    def schema(self, location: Location) -> pa.Schema:  # noqa: ARG002
        """See Batches."""
        return pa.schema([(LINE, pa.string())])

    def checked(self, columns: Sequence[str]) -> Sequence[str]:
        """See Batches."""
        return columns

    def tables(self, location: Location, columns: Sequence[str]) -> Iterator[pa.Table]:  # noqa: ARG002
        """See Batches."""
        for lines in lines_of(location):
            texts = [line.decode("utf-8", "replace") for line in lines]
            yield pa.table({LINE: pa.array(texts, pa.string())})


def lines_of(location: Location) -> Iterator[list[bytes]]:
    """The lines of a file that are not empty, some at a time, without their line ends.

    Raises BadInput if the file is UTF-16, or if a line is too long.
    """
    rest = b""
    with location.filesystem.open_input_stream(location.path) as stream:
        start = stream.read(len(codecs.BOM_UTF8))
        if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise BadInput(f"{location.uri}: is UTF-16; convert it to UTF-8")
        rest = start.removeprefix(codecs.BOM_UTF8)
        while block := stream.read(BLOCK_BYTES):
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            if len(rest) > MAX_LINE_BYTES:
                raise BadInput(f"{location.uri}: a line is longer than {MAX_LINE_BYTES:,} bytes")
            kept = [line.strip(b"\r") for line in lines if line.strip()]
            for start in range(0, len(kept), LINES_AT_ONCE):
                yield kept[start : start + LINES_AT_ONCE]
    if rest.strip():
        yield [rest.strip(b"\r")]


def _type_of(name: str, rows: Sequence[dict[str, Any]], uri: str) -> pa.DataType:
    try:
        return pa.array([row.get(name) for row in rows]).type
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        what = (
            "numbers that are too large"
            if isinstance(error, OverflowError)
            else "values of several types"
        )
        raise BadInput(f"{uri}: column {name!r} has {what}") from error


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except ValueError as error:
        raise BadInput(f"{where} is not JSON") from error
    if not isinstance(value, dict):
        raise BadInput(f"{where} is not a JSON object")
    return value
