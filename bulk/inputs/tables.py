"""Reads tables of any kind: chooses the columns, and gives the rows of a shard."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol

import pyarrow as pa

from bulk.errors import BadInput, reason_of
from bulk.footer import READERS
from bulk.inputs.reader import Columns, InputFile, Listing, Reader
from bulk.inputs.values import as_image, as_text, values_of
from bulk.location import Location
from bulk.rows import Rows
from bulk.shards import Span

TEXT_NAMES = ("text", "caption")
IMAGE_NAMES = ("image", "url", "image_url", "img")
ROW = "row"  # the id column of an input without one: the row's number in the whole input


@dataclass(frozen=True)
class Gap:
    """Rows that cannot be read because the file is damaged there."""

    rows: int
    reason: str


class TableFile(Protocol):
    """One file of a table."""

    @property
    def schema(self) -> pa.Schema:
        """The columns and their types."""
        ...

    def count(self, columns: Sequence[str]) -> int:
        """How many rows it has. Raises BadInput if these columns cannot be read to the end."""
        ...

    def rows(self, start: int, stop: int, columns: Sequence[str]) -> Sequence[pa.Table | Gap]:
        """Rows `start` to `stop` with these columns, in pieces, and gaps where they are damaged.

        May be called from several threads.
        """
        ...

    def close(self) -> None:
        """Let go of what a read keeps open. A later read opens the file again."""
        ...


class TableReader:
    """Rows of one or more files with the same columns."""

    def __init__(
        self,
        root: Location,
        files: Sequence[Location],
        columns: Columns,
        open_file: Callable[[Location], TableFile],
        listing: Listing,
    ) -> None:
        self._tables = _opened(files, open_file)
        self._schema = self._tables[0].schema
        self.columns = _resolved(columns, self._schema.names, files[0].uri)
        self._wanted = [*dict.fromkeys(_named(self.columns))]
        _check_types(self.columns, self._schema, files[0].uri)
        for table, file in zip(self._tables, files, strict=True):
            _check_columns(self._wanted, table.schema.names, file.uri)
        fields = [self._schema.field(name).with_nullable(True) for name in self._wanted]
        self._fields = pa.schema(fields)
        start = len(root.path.rstrip("/")) + 1 if len(files) > 1 else 0
        known = listing()
        self.files = [
            _counted(file, file.path[start:] or file.name, table, self._wanted, known)
            for file, table in zip(files, self._tables, strict=True)
        ]

    @property
    def row_bytes(self) -> float:
        """See Reader."""
        rows = sum(file.rows for file in self.files)
        return sum(file.size_bytes for file in self.files) / max(1, rows)

    def read(self, spans: Iterable[Span], first_row: int) -> Rows:
        """See Reader. Rows that are damaged have nulls in every column but the row's number."""
        parts: list[pa.Table] = []
        unreadable: dict[int, str] = {}
        count = 0
        for piece in chain.from_iterable(map(self._read, spans)):
            if isinstance(piece, Gap):
                unreadable |= dict.fromkeys(range(count, count + piece.rows), piece.reason)
                parts.append(_nulls(piece.rows, self._fields))
                count += piece.rows
            else:
                parts.append(piece)
                count += piece.num_rows
        table, columns = pa.concat_tables(parts), self.columns
        kept = [name for name in (columns.id, *columns.keep) if name]
        return Rows(
            _with_id(table.select([*dict.fromkeys(kept)]), columns.id, first_row, count),
            [*map(as_text, values_of(table[columns.text]))] if columns.text else None,
            [*map(as_image, values_of(table[columns.image]))] if columns.image else None,
            unreadable,
        )

    def _read(self, span: Span) -> list[pa.Table | Gap]:
        file = self.files[span.file]
        try:
            pieces = [
                piece if isinstance(piece, Gap) else piece.select(self._wanted).cast(self._fields)
                for piece in self._tables[span.file].rows(span.start, span.stop, self._wanted)
            ]
        except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
            raise BadInput(
                f"{file.path}: the rows do not match the columns' types: {error}"
            ) from error
        except OSError as error:
            raise BadInput(f"{file.path}: can no longer be read: {reason_of(error)}") from error
        if span.stop == file.rows:  # an input may have more files than a process may have open
            self._tables[span.file].close()
        count = sum(piece.rows if isinstance(piece, Gap) else piece.num_rows for piece in pieces)
        if count != span.stop - span.start:
            raise BadInput(f"{file.path}: the file has fewer rows than at the start of the run")
        return pieces


class Tables:
    """A format whose files are tables."""

    def __init__(self, endings: Sequence[str], open_file: Callable[[Location], TableFile]) -> None:
        self.endings = endings
        self._open_file = open_file

    def open(
        self, root: Location, files: Sequence[Location], columns: Columns, listing: Listing
    ) -> Reader:
        """See Format."""
        return TableReader(root, files, columns, self._open_file, listing)


def _opened(
    files: Sequence[Location], open_file: Callable[[Location], TableFile]
) -> list[TableFile]:
    """The files, opened side by side if a bucket has to answer for each."""
    if files[0].is_local:
        return [open_file(file) for file in files]
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(open_file, files))


def _counted(
    location: Location,
    path: str,
    table: TableFile,
    wanted: Sequence[str],
    known: Mapping[str, InputFile],
) -> InputFile:
    """The file with its rows, which are counted unless the file is as it was."""
    seen, before = location.seen(), known.get(path)
    if before and 0 < before.modified_ns == seen.modified_ns and before.size_bytes == seen.size:
        return before
    return InputFile(path, seen.size, table.count(wanted), seen.modified_ns)


def _resolved(columns: Columns, names: Sequence[str], uri: str) -> Columns:
    """The columns asked for, or those with a usual name. Raises BadInput if there are none."""
    if not columns.text and not columns.image:
        text = next((name for name in TEXT_NAMES if name in names), "")
        image = next((name for name in IMAGE_NAMES if name in names), "")
        if not text and not image:
            wanted = "name one with --text-column or --image-column"
            raise BadInput(f"{uri}: no column to embed; {wanted}; it has {', '.join(names)}")
        columns = replace(columns, text=text, image=image)
    return columns


def _named(columns: Columns) -> list[str]:
    named = (columns.text, columns.image, columns.id, *columns.keep)
    return [name for name in named if name]


def _check_columns(wanted: Sequence[str], names: Sequence[str], uri: str) -> None:
    for name in wanted:
        if name not in names:
            raise BadInput(f"{uri}: no column {name!r}; it has {', '.join(names)}")
        if names.count(name) > 1:
            raise BadInput(f"{uri}: {names.count(name)} columns have the name {name!r}")


def _check_types(columns: Columns, schema: pa.Schema, uri: str) -> None:
    """Raises BadInput if the values of a column cannot be texts or images."""
    for name, kind in ((columns.text, "texts"), (columns.image, "images")):
        if schema.get_field_index(name) < 0:
            continue
        column = schema.field(name).type
        is_image_struct = kind == "images" and pa.types.is_struct(column)
        if pa.types.is_nested(column) and not is_image_struct:
            raise BadInput(f"{uri}: column {name!r} holds {column}, and not {kind}")


def _nulls(count: int, fields: pa.Schema) -> pa.Table:
    return pa.table([pa.nulls(count, field.type) for field in fields], fields)


def _with_id(kept: pa.Table, id_name: str, first_row: int, count: int) -> pa.Table:
    if id_name:
        return kept
    numbers = pa.array(range(first_row, first_row + count), pa.int64())
    return kept.add_column(0, ROW, numbers) if kept.num_columns else pa.table({ROW: numbers})
