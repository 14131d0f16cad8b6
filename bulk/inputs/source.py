"""Reads images from the input itself or from a bucket, through pyarrow's file systems."""

import posixpath
import re

from bulk.inputs.values import RELATIVE
from bulk.location import REMOTE, Location
from common.allowance import Allowance
from common.errors import (
    BlockedUrl,
    BodyTooLarge,
    ConnectFailed,
    FetchError,
    FetchTimeout,
    ObjectForbidden,
    ObjectNotFound,
)

LARGE_BYTES = 2**20  # a larger file needs the allowance's turn
NO_FILE = "there is no such file"
NOT_UTF8 = "the file's name is not UTF-8; rename the file"
ESCAPE = re.compile(r"\\x[89a-f][0-9a-f]")  # of a byte in a name as a listing shows it


class InputSource:
    """Reads `input:relative/path` below the input's root, and nothing outside it."""

    schemes = (RELATIVE,)

    def __init__(self, root: Location, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes

    def read(self, reference: str, allowance: Allowance) -> bytes:
        """The file's bytes. Raises FetchError."""
        relative = posixpath.normpath(reference.partition(":")[2])
        if relative.startswith(("/", "../")) or relative == "..":
            raise BlockedUrl("the path leads outside the input")
        return _read(self._root.child(relative), self._max_bytes, allowance)


class BucketSource:
    """Reads `gs://bucket/object`."""

    schemes = ("gs",)

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bucket: Location | None = None

    def read(self, reference: str, allowance: Allowance) -> bytes:
        """The object's bytes. Raises FetchError."""
        if self._bucket is None:
            self._bucket = Location.of(REMOTE)
        return _read(self._bucket.child(reference.removeprefix(REMOTE)), self._max_bytes, allowance)


def _read(location: Location, max_bytes: int, allowance: Allowance) -> bytes:
    if allowance.is_over:
        raise FetchTimeout("the run's time ran out before this file was read")
    try:
        if location.is_local and not location.info().is_file:  # opening a pipe would wait for ever
            raise ObjectNotFound(NOT_UTF8 if ESCAPE.search(location.name) else NO_FILE)
        with location.open_stream() as stream:
            data: bytes = stream.read(min(LARGE_BYTES, max_bytes) + 1)
            if LARGE_BYTES < len(data) <= max_bytes:
                if not allowance.take_turn():
                    raise FetchTimeout("the time ran out while other large images were read")
                data += stream.read(max_bytes + 1 - len(data))
    except OSError as error:
        raise _translate(error) from error
    if len(data) > max_bytes:
        raise BodyTooLarge(f"the file is larger than the limit of {max_bytes:,} bytes")
    return data


def _translate(error: OSError) -> FetchError:
    if isinstance(error, FileNotFoundError):
        return ObjectNotFound(NO_FILE)
    if isinstance(error, PermissionError):
        return ObjectForbidden("permission to read this file is denied")
    return ConnectFailed("the file could not be read", reason=type(error).__name__)
