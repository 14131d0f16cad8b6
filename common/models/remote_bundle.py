"""Load a bundle from a Cloud Storage bucket (CLIP_WEIGHTS_URI).

A file is fetched when its tower loads, and removed once the engine has read it. The platform keeps
files in memory.
"""

import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from common.cloud_storage import CloudStorage
from common.errors import ModelUnavailable
from common.models.bundle import MANIFEST, Bundle, read_bundle
from common.models.spec import ModelSpec

Result = TypeVar("Result")

INSTALL = "CLIP_WEIGHTS_URI needs google-cloud-storage (pip install -r requirements-storage.txt)"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteBundle(Bundle):
    """A bundle in a bucket: `folder` holds its manifest, and other files only while they load."""

    uri: str
    storage: CloudStorage

    def fetch(self, name: str) -> Path:
        """Download a file and those with its weights; return its path.

        Raises ModelUnavailable, after removing them, if a download fails.
        """
        if name not in self.manifest.sha256 or Path(name).name != name:
            raise ModelUnavailable(
                f"model {self.manifest.model}: its bundle's manifest has no sha256 of {name}"
            )
        try:
            for file in self.files(name):
                self._download(file)
        except BaseException:
            self.release(name)
            raise
        return self.folder / name

    def release(self, name: str) -> None:
        """Remove a file and the one with its weights; what the engine has mapped stays readable."""
        for path in self.folder.glob(f"{name}*"):
            path.unlink(missing_ok=True)

    def _download(self, name: str) -> None:
        path = self.folder / name
        started = time.monotonic()
        _translated(
            self.manifest.model,
            name,
            lambda: self.storage.download_file(f"{self.uri}/{name}", path),
        )
        extra = {
            "file": name,
            "bytes": path.stat().st_size,
            "seconds": round(time.monotonic() - started, 3),
        }
        log.info("weights fetched", extra=extra)


def open_remote_bundle(uri: str, spec: ModelSpec, storage: CloudStorage) -> RemoteBundle:
    """Open the bundle in the folder `uri` of a bucket by reading its manifest.

    Raises ModelUnavailable.
    """
    uri = uri.rstrip("/")
    manifest = _translated(spec.id, MANIFEST, lambda: storage.read_file(f"{uri}/{MANIFEST}"))
    folder = Path(tempfile.mkdtemp(prefix="clip-bundle-"))
    (folder / MANIFEST).write_bytes(manifest)
    return RemoteBundle(folder, read_bundle(folder, spec).manifest, uri, storage)


def _translated(model: str, name: str, read: Callable[[], Result]) -> Result:
    """Call `read` and return its result; any error becomes ModelUnavailable."""
    try:
        return read()
    except ImportError as error:
        raise ModelUnavailable(f"model {model}: {INSTALL}") from error
    except Exception as error:
        reason = {
            401: "the function's service account needs roles/storage.objectViewer",
            403: "the function's service account needs roles/storage.objectViewer",
            404: "no such object",
        }.get(getattr(error, "code", 0), f"reading it failed ({type(error).__name__})")
        raise ModelUnavailable(f"model {model}: {name} in CLIP_WEIGHTS_URI: {reason}") from error
