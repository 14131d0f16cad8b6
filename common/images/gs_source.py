"""Images of Cloud Storage: gs://bucket/object, read as the function's own service account."""

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


class GsSource:
    """Reads objects of at most `max_bytes`, each within `timeout_s`. Safe for many threads."""

    schemes = ("gs",)

    def __init__(self, storage: CloudStorage, *, timeout_s: float, max_bytes: int) -> None:
        self._storage = storage
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes

    def read(self, reference: str, allowance: Allowance) -> bytes:
        """The object at `gs://bucket/object`, within the allowance. Raises FetchError.

        What is beyond LARGE_BYTES is asked for once the allowance's turn is taken.
        """
        bucket, name = split_url(reference)
        if reference[:5].lower() != "gs://" or not bucket or not name:
            raise InvalidUrl("a Cloud Storage URL is gs://bucket/object")
        allowance = allowance.within(self._timeout_s)
        try:
            data = self._read_range(reference, 0, min(LARGE_BYTES, self._max_bytes + 1), allowance)
            if LARGE_BYTES <= len(data) <= self._max_bytes:
                if not allowance.take_turn():
                    raise FetchTimeout("other large downloads took all the time")
                start = LARGE_BYTES - 1  # the last byte again: a range is never empty
                rest = self._read_range(reference, start, self._max_bytes + 1, allowance)
                data = data[:-1] + rest
        except Exception as error:
            raise _translate(error) from error
        if len(data) > self._max_bytes:
            raise BodyTooLarge(f"the image has more than {self._max_bytes:,} bytes, the limit")
        return data

    def _read_range(self, url: str, start: int, stop: int, allowance: Allowance) -> bytes:
        left_s = allowance.remaining_s()
        if left_s <= 0:
            raise FetchTimeout("the download did not end in time")
        return self._storage.read_range(url, start, stop, left_s)


def _translate(error: Exception) -> FetchError:
    """Foreign errors by what their libraries share: a status code, a base class, a name."""
    if isinstance(error, FetchError):
        return error
    if isinstance(error, ImportError):
        return InvalidUrl("gs:// URLs need google-cloud-storage: pip install google-cloud-storage")
    status, reason = getattr(error, "code", None), type(error).__name__
    if status == 404:
        return ObjectNotFound("there is no such object")
    if status in (401, 403) or reason == "DefaultCredentialsError":
        return ObjectForbidden(
            "the function's service account may not read this object", reason=reason
        )
    if isinstance(error, TimeoutError) or "Timeout" in reason or reason == "RetryError":
        return FetchTimeout("the download did not end in time", reason=reason)
    if status == 400 or isinstance(error, ValueError):
        return InvalidUrl("a Cloud Storage URL is gs://bucket/object", reason=reason)
    return ConnectFailed("the object could not be read", reason=reason)
