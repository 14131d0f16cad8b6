"""A file or folder, local or in a bucket, through pyarrow's own file systems."""

import os
import posixpath
import uuid
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from bulk.errors import BadInput
from common.environment import storage_emulator

REMOTE = "gs://"


@dataclass(frozen=True)
class Location:
    """A place in a file system. `uri` is what a person calls it."""

    filesystem: fs.FileSystem
    path: str
    uri: str

    @classmethod
    def of(cls, uri: str) -> "Location":
        """A local path or `gs://bucket/path`. Raises BadInput for another scheme."""
        if uri.startswith(REMOTE):
            return cls(_bucket_filesystem(), uri.removeprefix(REMOTE).rstrip("/"), uri.rstrip("/"))
        if "://" in uri:
            raise BadInput(f"{uri}: only local paths and gs:// are read and written")
        path = str(Path(uri).absolute())
        return cls(fs.LocalFileSystem(), path, uri)

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self.path)

    def child(self, name: str) -> "Location":
        """A file or folder inside it."""
        joined = posixpath.join(self.path, name)
        return Location(self.filesystem, joined, posixpath.join(self.uri, name))

    def info(self) -> fs.FileInfo:
        """Its kind and size."""
        info: fs.FileInfo = self.filesystem.get_file_info(self.path)
        return info

    def files(self, recursive: bool = False) -> list[fs.FileInfo]:
        """The files inside it, sorted by path; none if it does not exist."""
        selector = fs.FileSelector(self.path, allow_not_found=True, recursive=recursive)
        found = self.filesystem.get_file_info(selector)
        return sorted((one for one in found if one.is_file), key=lambda one: one.path)

    def open(self) -> pa.NativeFile:
        """The file, to read at any place."""
        return self.filesystem.open_input_file(self.path)

    def read(self) -> bytes:
        """The whole file."""
        with self.open() as file:
            data: bytes = file.read()
        return data

    def write(self, data: bytes | pa.Buffer) -> None:
        """Write the whole file, so that a reader sees all of it or nothing. Raises OSError."""
        if not self.is_local:
            with self.filesystem.open_output_stream(self.path) as stream:
                stream.write(data)  # a bucket shows an object once its upload has ended
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


def _bucket_filesystem() -> fs.FileSystem:
    emulator = storage_emulator()
    if not emulator:
        return fs.GcsFileSystem()
    scheme, _, host = emulator.rpartition("://")
    return fs.GcsFileSystem(
        anonymous=True, endpoint_override=host, scheme=scheme or "http", retry_time_limit=None
    )
