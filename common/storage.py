"""Cloud Storage, read with the function's own service account. google-cloud-storage is optional: it costs memory and
half a second that a function without gs:// need not pay, so this module alone imports it, on first use.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.cloud.storage import Client

PARALLEL_RANGES = 8
RANGE_BYTES = 8 * 2**20
TIMEOUT_S = 60  # between two bytes
EMPTY = 416  # no byte of an object without any is in the range that was asked for


@cache
def storage_client() -> "Client":
    """The client of this process. Raises ImportError where google-cloud-storage is not installed."""
    from google.cloud import storage

    return storage.Client()


def split_url(url: str) -> tuple[str, str]:
    """`gs://bucket/some/name` → ("bucket", "some/name"); either may be empty."""
    bucket, _, name = url[len("gs://") :].partition("/")
    return bucket, name


def read_file(url: str) -> bytes:
    """A small object, whole. Raises ImportError, and what google-cloud-storage raises."""
    bucket, name = split_url(url)
    data: bytes = storage_client().bucket(bucket).blob(name).download_as_bytes(timeout=TIMEOUT_S)
    return data


def read_range(url: str, start: int, stop: int, timeout_s: float) -> bytes:
    """An object's bytes from `start` up to `stop`, or to its end, retries and all within `timeout_s`.

    Raises ImportError, and what google-cloud-storage raises.
    """
    from google.cloud.storage.retry import DEFAULT_RETRY

    bucket, name = split_url(url)
    blob = storage_client().bucket(bucket).blob(name)
    retry = DEFAULT_RETRY.with_timeout(timeout_s)
    try:
        data: bytes = blob.download_as_bytes(start=start, end=stop - 1, timeout=timeout_s, retry=retry)
    except Exception as error:
        if getattr(error, "code", None) == EMPTY:
            return b""
        raise
    return data


def download_file(url: str, path: Path, range_bytes: int = RANGE_BYTES) -> None:
    """A large object to `path`, in ranges side by side. Raises ImportError, and what google-cloud-storage raises."""
    from google.cloud.storage import transfer_manager

    bucket, name = split_url(url)
    transfer_manager.download_chunks_concurrently(
        storage_client().bucket(bucket).blob(name),
        str(path),
        chunk_size=range_bytes,
        worker_type=transfer_manager.THREAD,  # its default, processes, would each import this function's world
        max_workers=PARALLEL_RANGES,
        download_kwargs={"timeout": TIMEOUT_S},
    )
