"""Opens inputs: a folder, a file or a pattern of files, of one kind.

A new kind is one module with a class that fulfils `Format`, and one entry in `FORMATS`.
"""

import fnmatch
import posixpath
from functools import partial

from pyarrow import fs

from bulk.errors import BadInput
from bulk.inputs.folder import ImageFolder
from bulk.inputs.lines import TextFiles
from bulk.inputs.parquet import ParquetTable
from bulk.inputs.reader import Columns, Format, Listing, Reader, no_listing
from bulk.inputs.streams import CsvBatches, JsonLinesBatches, LineBatches, StreamTable
from bulk.inputs.tables import Tables
from bulk.inputs.webdataset import TarBatches
from bulk.location import Location

FORMATS: tuple[Format, ...] = (
    Tables((".parquet", ".pq"), ParquetTable),
    Tables((".csv",), partial(StreamTable, batches=CsvBatches())),
    Tables((".jsonl", ".ndjson"), partial(StreamTable, batches=JsonLinesBatches())),
    Tables((".tar",), partial(StreamTable, batches=TarBatches())),
    TextFiles((".txt",), partial(StreamTable, batches=LineBatches())),
    ImageFolder(),
)
WILDCARDS = "*?["


def open_input(
    uri: str, columns: Columns, listing: Listing = no_listing
) -> tuple[Location, Reader]:
    """The input's root, below which relative image paths lie, and its reader.

    `listing` gives the files as an earlier run saw them. Rows are not counted again in those that
    have not changed.

    Raises BadInput if there is nothing to read, or files of several kinds.
    """
    root, files = _find(Location.of(uri))
    if not files:
        raise BadInput(f"{uri}: no such file or folder, or it has no supported files")
    by_format = {index for file in files if (index := _format_of(file.name)) is not None}
    if len(by_format) > 1:
        kinds = sorted({posixpath.splitext(file.name)[1] for file in files})
        raise BadInput(
            f"{uri}: files of several kinds ({', '.join(kinds)}); choose one, as in *.csv"
        )
    (index,) = by_format
    reader = FORMATS[index].open(root, files, columns, listing)
    if not sum(file.rows for file in reader.files):
        raise BadInput(f"{uri}: no rows")
    return root, reader


def _find(location: Location) -> tuple[Location, list[Location]]:
    """The root and the files of known kinds; only the last part of a path may be a pattern."""
    folder, name = posixpath.split(location.path)
    info = location.info()
    is_there = info.type != fs.FileType.NotFound  # under a name that looks like a pattern
    if not is_there and any(character in name for character in WILDCARDS):
        root = Location(location.filesystem, folder, posixpath.dirname(location.uri))
        found = [root.child(listed.name, listed) for listed in root.files()]
        named = [file for file in found if fnmatch.fnmatchcase(file.name, name)]
        return root, [file for file in named if _format_of(file.name) is not None]
    if info.is_file:
        if _format_of(location.name) is None:
            endings = ", ".join(ending for kind in FORMATS for ending in kind.endings)
            raise BadInput(f"{location.uri}: not a supported kind of file; supported: {endings}")
        root = Location(location.filesystem, folder, posixpath.dirname(location.uri) or ".")
        return root, [location]
    start = len(location.path.rstrip("/")) + 1
    listing = location.files(recursive=True)
    files = [location.child(listed.path[start:], listed) for listed in listing]
    return location, [file for file in files if _is_read(file.path[start:])]


def _is_read(path: str) -> bool:
    """Whether a file below the input's folder is read: hidden files are not.

    Other tools keep tables of their own under names with `_`. Cameras name photos `_DSC0001.JPG`.
    """
    name = posixpath.basename(path)
    index = _format_of(name)
    if index is None or any(part.startswith(".") for part in path.split("/")):
        return False
    return isinstance(FORMATS[index], ImageFolder) or not name.startswith("_")


def _format_of(name: str) -> int | None:
    """Which of FORMATS reads a file of that name."""
    ending = posixpath.splitext(name)[1].lower()
    return next((at for at, kind in enumerate(FORMATS) if ending in kind.endings), None)
