"""Helpers for files and folders: the sha256 of a file, and replacing a folder in one step."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, as 64 hex digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield a new empty folder, which replaces `folder` if the block succeeds.

    If the block raises, the new folder is removed and `folder` stays as it was.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    build = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield build
        build.chmod(0o755)
        former = build.with_name(build.name + ".former")
        if folder.exists():
            folder.rename(former)
        build.rename(folder)
        shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(build, ignore_errors=True)
