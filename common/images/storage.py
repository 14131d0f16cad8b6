"""Images of Cloud Storage: gs://bucket/object, read as the function's own service account."""

import time

from common.errors import (
    BodyTooLarge,
    ConnectFailed,
    FetchError,
    FetchTimeout,
    InvalidUrl,
    ObjectForbidden,
    ObjectNotFound,
)
from common.images.memory_budget import LARGE_BYTES, LargeTurn
from common.storage import read_range, split_url


class ObjectReader:
    """Reads objects of at most `max_bytes`, each within `timeout_s`. Safe for many threads."""

    def __init__(self, *, timeout_s: float, max_bytes: int) -> None:
        self._timeout_s, self._max_bytes = timeout_s, max_bytes

    def read(self, url: str, deadline: float, turn: LargeTurn | None = None) -> bytes:
        """The object at `url`, by `deadline` (a monotonic instant) at the latest. Raises FetchError.

        What is beyond LARGE_BYTES is asked for once `turn` is taken.
        """
        bucket, name = split_url(url)
        if url[:5].lower() != "gs://" or not bucket or not name:
            raise InvalidUrl("a Cloud Storage URL is gs://bucket/object")
        deadline = min(deadline, time.monotonic() + self._timeout_s)
        try:
            data = read_range(url, 0, min(LARGE_BYTES, self._max_bytes + 1), _seconds_to(deadline))
            if LARGE_BYTES <= len(data) <= self._max_bytes:
                if turn and not turn.take(_seconds_to(deadline)):
                    raise FetchTimeout("other large downloads took all the time")
                left_s = _seconds_to(deadline)
                data = data[:-1] + read_range(url, LARGE_BYTES - 1, self._max_bytes + 1, left_s)  # never an empty range
        except Exception as error:
            raise _translate(error) from error
        if len(data) > self._max_bytes:
            raise BodyTooLarge(f"the image has more than {self._max_bytes:,} bytes, the limit")
        return data


def _seconds_to(deadline: float) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise FetchTimeout("the download did not end in time")
    return left_s


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
        return ObjectForbidden("the function's service account may not read this object", reason=reason)
    if isinstance(error, TimeoutError) or "Timeout" in reason or reason == "RetryError":
        return FetchTimeout("the download did not end in time", reason=reason)
    if status == 400 or isinstance(error, ValueError):
        return InvalidUrl("a Cloud Storage URL is gs://bucket/object", reason=reason)
    return ConnectFailed("the object could not be read", reason=reason)
