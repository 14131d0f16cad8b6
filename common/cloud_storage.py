"""Reads Cloud Storage with the process's own credentials.

google-cloud-storage is optional, because it takes memory and half a second to import. Only this
module imports it, on first use.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.cloud.storage import Blob, Client

PARALLEL_RANGES = 8
RANGE_BYTES = 8 * 2**20
TIMEOUT_S = 60  # the longest pause between two bytes
RANGE_NOT_SATISFIABLE = 416  # the answer to every range of an empty object


def split_url(url: str) -> tuple[str, str]:
    """Split `gs://bucket/some/name` into ("bucket", "some/name"); either may be empty."""
    bucket, _, name = url[len("gs://") :].partition("/")
    return bucket, name


class CloudStorage:
    """Reads objects with the process's own credentials. It creates its client on first use.

    Every method raises ImportError if google-cloud-storage is not installed, and passes on the
    exceptions of that library.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: Client | None = None

    def read_file(self, url: str) -> bytes:
        """The whole content of a small object."""
        data: bytes = self._blob(url).download_as_bytes(timeout=TIMEOUT_S)
        return data

    def read_range(self, url: str, start: int, stop: int, timeout_s: float) -> bytes:
        """An object's bytes from `start` up to, not including, `stop` or its end.

        Retries stop after `timeout_s`.
        """
        blob = self._blob(url)
        from google.cloud.storage.retry import DEFAULT_RETRY

        retry = DEFAULT_RETRY.with_timeout(timeout_s)
        try:
            data: bytes = blob.download_as_bytes(
                start=start, end=stop - 1, timeout=timeout_s, retry=retry
            )
        except Exception as error:
            if getattr(error, "code", None) == RANGE_NOT_SATISFIABLE:
                return b""
            raise
        return data

    def download_file(self, url: str, path: Path, range_bytes: int = RANGE_BYTES) -> None:
        """Download a large object to `path`, several ranges at a time."""
        blob = self._blob(url)
        from google.cloud.storage import transfer_manager

        transfer_manager.download_chunks_concurrently(
            blob,
            str(path),
            chunk_size=range_bytes,
            worker_type=transfer_manager.THREAD,  # each process would import all modules again
            max_workers=PARALLEL_RANGES,
            download_kwargs={"timeout": TIMEOUT_S},
        )

    def close(self) -> None:
        """Close the connections. The next read opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _blob(self, url: str) -> "Blob":
        bucket, name = split_url(url)
        with self._lock:
            if self._client is None:
                from google.cloud import storage

                self._client = storage.Client()
            return self._client.bucket(bucket).blob(name)
