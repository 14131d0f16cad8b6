"""A file or folder, local or in a bucket, through pyarrow's own file systems."""

import contextlib
import errno
import functools
import os
import posixpath
import stat
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from bulk.errors import BadInput
from common.environment import storage_emulator

REMOTE = "gs://"
BUCKET_RETRIES = timedelta(seconds=60)  # how long to retry while a bucket does not answer
CREDENTIALS_TRIES = timedelta(seconds=3)
NO_TOKEN = "access token"  # noqa: S105 - part of a message
NO_CREDENTIALS = (
    "no credentials for gs://; run `gcloud auth application-default login`,"
    " or set GOOGLE_APPLICATION_CREDENTIALS to a key file"
)
LEFTOVER_S = 3600.0  # a temporary file this old is left from a killed process


@dataclass(frozen=True, slots=True)
class Listed:
    """A file as a listing shows it. `modified_ns` is 0 if that is not known.

    A name that is not UTF-8 is written with escapes, by which the file cannot be opened.
    """

    path: str
    size: int
    modified_ns: int

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self.path)


@dataclass(frozen=True)
class Location:
    """A file or folder in a file system. `uri` is its name in messages.

    `listed` is what a listing said of a file, so that it need not be asked again.
    """

    filesystem: fs.FileSystem
    path: str
    uri: str
    listed: Listed | None = None

    @classmethod
    def of(cls, uri: str) -> "Location":
        """A local path or `gs://bucket/path`. Raises BadInput for another scheme.

        No path is not the current folder: it comes from a variable that is not set.
        """
        if not uri:
            raise BadInput("INPUT and OUTPUT must not be empty; use . for the current folder")
        if uri.startswith(REMOTE):
            path = uri.removeprefix(REMOTE).rstrip("/")
            return cls(_bucket_filesystem(path.partition("/")[0]), path, uri.rstrip("/"))
        if "://" in uri:
            raise BadInput(f"{uri}: not a supported location; use a local path or gs://")
        return cls(fs.LocalFileSystem(), str(Path(uri).absolute()), uri)

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self.path)

    @property
    def full_uri(self) -> str:
        """An address of the same place that does not depend on the current folder."""
        return self.path if self.is_local else self.uri

    @property
    def real(self) -> str:
        """The full address, with links of the local file system resolved."""
        return str(Path(self.path).resolve()) if self.is_local else self.uri

    def child(self, name: str, listed: Listed | None = None) -> "Location":
        """A file or folder inside it."""
        joined = posixpath.join(self.path, name)
        return Location(self.filesystem, joined, posixpath.join(self.uri, name), listed)

    def info(self) -> fs.FileInfo:
        """Its kind and size."""
        info: fs.FileInfo = self.filesystem.get_file_info(self.path)
        return info

    def seen(self) -> Listed:
        """Its size and time of change, as listed if it was."""
        return self.listed or _listed(self.info())

    def files(self, recursive: bool = False) -> list[Listed]:
        """The files inside it, sorted by path; none if it does not exist. Raises OSError."""
        if self.is_local:
            found = _walked(self.path, recursive, frozenset())
        else:
            selector = fs.FileSelector(self.path, allow_not_found=True, recursive=recursive)
            infos = self.filesystem.get_file_info(selector)
            found = (_listed(info) for info in infos if info.is_file)
        return sorted(found, key=lambda file: file.path)

    def open(self) -> pa.NativeFile:
        """Open the file for random access."""
        return self.filesystem.open_input_file(self.path)

    def open_stream(self) -> pa.NativeFile:
        """Open the file to read it from its start. A bucket is asked once, for all of it.

        While pyarrow reads an object that was opened for random access, all other threads wait.
        """
        return self.filesystem.open_input_stream(self.path, compression=None)

    def read(self) -> bytes:
        """The whole file."""
        with self.open_stream() as file:
            data: bytes = file.read()
        return data

    def write(self, data: bytes | pa.Buffer) -> None:
        """Write the whole file, so that a reader sees all of it or nothing. Raises OSError."""
        if not self.is_local:
            with self.filesystem.open_output_stream(self.path) as stream:
                stream.write(data)  # a bucket shows an object only after its upload
            return
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the file, if it is there and if that is allowed."""
        with contextlib.suppress(OSError):
            self.filesystem.delete_file(self.path)

    def check_writable(self) -> None:
        """Raises OSError if files cannot be written below this local folder. Writes nothing.

        A bucket reports this only at the first write.
        """
        if not self.is_local:
            return
        folder = Path(self.path)
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise NotADirectoryError(20, "not a folder", str(folder))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "not writable", str(folder))

    def sweep(self) -> None:
        """Remove temporary files that killed processes left in this local folder."""
        if not self.is_local or not Path(self.path).is_dir():
            return
        before = time.time() - LEFTOVER_S
        for path in Path(self.path).rglob(".*.????????"):
            if path.is_file() and path.stat().st_mtime < before:
                path.unlink(missing_ok=True)


def _listed(info: fs.FileInfo) -> Listed:
    return Listed(info.path, int(info.size or 0), int(info.mtime_ns or 0))


def _walked(folder: str, recursive: bool, above: frozenset[tuple[int, int]]) -> Iterator[Listed]:
    """The files below a local folder. Links are followed, but not to a folder `above`.

    pyarrow's own listing follows such a loop forty times, and fails for names that are not UTF-8.
    """
    if not Path(folder).is_dir():
        return
    here = Path(folder).stat()
    above |= {(here.st_dev, here.st_ino)}
    with os.scandir(folder) as entries:
        for entry in entries:
            status = _status(entry)
            if status is None:
                continue
            if stat.S_ISREG(status.st_mode):
                path = os.fsencode(entry.path).decode("utf-8", "backslashreplace")
                yield Listed(path, status.st_size, status.st_mtime_ns)
            is_above = (status.st_dev, status.st_ino) in above
            if recursive and stat.S_ISDIR(status.st_mode) and not is_above:
                yield from _walked(entry.path, recursive, above)


def _status(entry: "os.DirEntry[str]") -> os.stat_result | None:
    """What it leads to. None if that is nothing: another process may just have renamed it."""
    try:
        return entry.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself
            return None
        raise


def _bucket_filesystem(bucket: str) -> fs.FileSystem:
    emulator = storage_emulator()
    if not emulator:
        return _with_credentials(bucket)
    scheme, _, host = emulator.rpartition("://")
    return fs.GcsFileSystem(
        anonymous=True,
        endpoint_override=host,
        scheme=scheme or "http",
        retry_time_limit=BUCKET_RETRIES,
    )


@functools.cache
def _with_credentials(bucket: str) -> fs.FileSystem:
    """Google's storage. Raises BadInput if this machine has no credentials.

    The first question is retried only for a moment, because missing credentials do not appear
    later.
    """
    try:
        fs.GcsFileSystem(retry_time_limit=CREDENTIALS_TRIES).get_file_info(bucket)
    except OSError as error:
        if NO_TOKEN in str(error):
            raise BadInput(NO_CREDENTIALS) from error
    return fs.GcsFileSystem(retry_time_limit=BUCKET_RETRIES)
