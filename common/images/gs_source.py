"""Reads images from Cloud Storage (gs://bucket/object) as the function's service account."""

from common.allowance import Allowance
from common.cloud_storage import CloudStorage, split_url
from common.errors import (
    BodyTooLarge,
    ConnectFailed,
    FetchError,
    FetchTimeout,
    InvalidUrl,
    ObjectForbidden,
    ObjectNotFound,
)
from common.images.memory_budget import LARGE_BYTES

INVALID = "not a valid Cloud Storage URL; the form is gs://bucket/object"


class GsSource:
    """Reads objects of at most `max_bytes`, each within `timeout_s`. Safe for many threads."""

    schemes = ("gs",)

    def __init__(self, storage: CloudStorage, *, timeout_s: float, max_bytes: int) -> None:
        self._storage = storage
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes

    def read(self, reference: str, allowance: Allowance) -> bytes:
        """The object at `gs://bucket/object`, within the allowance. Raises FetchError.

        For an object larger than LARGE_BYTES, it first takes the allowance's turn.
        """
        bucket, name = split_url(reference)
        if reference[:5].lower() != "gs://" or not bucket or not name:
            raise InvalidUrl(INVALID)
        allowance = allowance.within(self._timeout_s)
        try:
            data = self._read_range(reference, 0, min(LARGE_BYTES, self._max_bytes + 1), allowance)
            if LARGE_BYTES <= len(data) <= self._max_bytes:
                if not allowance.take_turn():
                    raise FetchTimeout("the time ran out while waiting for other large downloads")
                start = LARGE_BYTES - 1  # reads the last byte again, so that the range is not empty
                rest = self._read_range(reference, start, self._max_bytes + 1, allowance)
                data = data[:-1] + rest
        except Exception as error:
            raise _translate(error) from error
        if len(data) > self._max_bytes:
            raise BodyTooLarge(f"the image is larger than the limit of {self._max_bytes:,} bytes")
        return data

    def _read_range(self, url: str, start: int, stop: int, allowance: Allowance) -> bytes:
        left_s = allowance.remaining_s()
        if left_s <= 0:
            raise FetchTimeout("the download did not finish in time")
        return self._storage.read_range(url, start, stop, left_s)


def _translate(error: Exception) -> FetchError:
    """Translate an error of the library, by its status code, its base class or its name."""
    if isinstance(error, FetchError):
        return error
    if isinstance(error, ImportError):
        return InvalidUrl("gs:// URLs need google-cloud-storage: pip install google-cloud-storage")
    status, reason = getattr(error, "code", None), type(error).__name__
    if status == 404:
        return ObjectNotFound("the bucket or the object does not exist")
    if status in (401, 403) or reason == "DefaultCredentialsError":
        return ObjectForbidden(
            "the function's service account may not read this object", reason=reason
        )
    if isinstance(error, TimeoutError) or "Timeout" in reason or reason == "RetryError":
        return FetchTimeout("the download did not finish in time", reason=reason)
    if status == 400 or isinstance(error, ValueError):
        return InvalidUrl(INVALID, reason=reason)
    return ConnectFailed("the object could not be read", reason=reason)
