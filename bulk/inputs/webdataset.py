"""webdataset tar files: members with the same name, up to the first dot, are one row."""

import json
import posixpath
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import pyarrow as pa

from bulk.errors import BadInput
from bulk.inputs.folder import ImageFolder
from bulk.location import Location

KEY, IMAGE, TEXT = "key", "image", "text"
TEXT_ENDING, JSON_ENDING = ".txt", ".json"
ROWS_AT_ONCE = 64
STREAM_BYTES = 2**20
BYTES_AT_ONCE = 8 * 2**20  # of images, after which a piece ends
MOST_BYTES = 128 * 2**20  # of a member: a sparse one may claim any size; no image may be larger


class TarBatches:
    """Columns are `key`, `image`, `text`, and the keys of a row's `.json` member."""

    def schema(self, location: Location) -> pa.Schema:
        """See Batches. The members of the first rows name the columns."""
        first = islice(self._rows(location), ROWS_AT_ONCE)
        names = dict.fromkeys(name for row in first for name in row)
        if not names:
            raise BadInput(f"{location.uri}: the tar file has no rows")
        return pa.schema([(name, _TYPES.get(name, pa.string())) for name in names])

    def checked(self, columns: Sequence[str]) -> Sequence[str]:  # noqa: ARG002
        """See Batches. The headers are enough; the images are read once, later."""
        return [KEY]

    def tables(self, location: Location, columns: Sequence[str]) -> Iterator[pa.Table]:
        """See Batches."""
        fields = pa.schema([(name, _TYPES.get(name, pa.string())) for name in columns])
        rows: list[dict[str, Any]] = []
        held_bytes = 0
        for row in self._rows(location, is_counting=list(columns) == [KEY]):
            rows.append(row)
            held_bytes += len(row.get(IMAGE, b""))
            if len(rows) == ROWS_AT_ONCE or held_bytes >= BYTES_AT_ONCE:
                yield pa.Table.from_pylist(rows, fields)
                rows, held_bytes = [], 0
        if rows:
            yield pa.Table.from_pylist(rows, fields)

    def _rows(self, location: Location, is_counting: bool = False) -> Iterator[dict[str, Any]]:
        """Each row's values. Only the key if the rows are counted."""
        row: dict[str, Any] = {}
        try:
            with _opened(location) as archive:
                for member in archive:
                    if member.isdir():
                        continue
                    folder, name = posixpath.split(member.name)
                    stem, dot, ending = name.partition(".")
                    key = posixpath.join(folder, stem)
                    if row and row[KEY] != key:
                        yield row
                        row = {}
                    row.setdefault(KEY, key)
                    if member.isfile() and not is_counting:  # a link is a row without content
                        _add(row, (dot + ending).lower(), archive.extractfile(member))
        except (tarfile.TarError, OSError) as error:
            raise BadInput(f"{location.uri}: cannot be read as a tar file") from error
        if row:
            yield row


@contextmanager
def _opened(location: Location) -> Iterator[tarfile.TarFile]:
    """The archive. From a bucket it comes in one request, in place of one for each member.

    A local one is not read where a member is passed over.
    """
    if location.is_local:
        with location.open() as file, tarfile.open(fileobj=file) as archive:
            yield archive
        return
    with (
        location.open_stream() as stream,
        tarfile.open(fileobj=stream, mode="r|*", bufsize=STREAM_BYTES) as archive,
    ):
        yield archive


_TYPES = {KEY: pa.string(), IMAGE: pa.large_binary(), TEXT: pa.string()}


def _add(row: dict[str, Any], ending: str, member: Any) -> None:
    """Add a member to its row."""
    if ending in ImageFolder.endings:
        row[IMAGE] = member.read(MOST_BYTES)
    elif ending == TEXT_ENDING:
        row[TEXT] = member.read(MOST_BYTES).decode("utf-8", "replace")
    elif ending == JSON_ENDING:
        try:
            fields = json.loads(member.read(MOST_BYTES))
        except (ValueError, RecursionError):
            return
        for name, value in fields.items() if isinstance(fields, dict) else ():
            if name not in (KEY, IMAGE, TEXT):
                row[name] = value if isinstance(value, str | None) else json.dumps(value)
