"""From a URL of a request to the image's bytes: http(s), data and gs."""

import base64
import binascii
import re
import time
from urllib.parse import unquote_to_bytes

from common.errors import (
    BodyTooLarge,
    ConnectFailed,
    FetchError,
    FetchTimeout,
    InvalidUrl,
    ObjectForbidden,
    ObjectNotFound,
)
from common.images.fetcher import Fetcher, check_content_type
from common.images.memory_budget import LargeTurn
from common.storage import split_url, storage_client

_DATA = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)


class ImageLoader:
    """Reads images of all the schemes that we take. Safe for many threads."""

    def __init__(self, fetcher: Fetcher, max_bytes: int) -> None:
        self._fetcher, self._max_bytes = fetcher, max_bytes

    def load(self, url: str, deadline: float, turn: LargeTurn | None = None) -> bytes:
        """The bytes behind `url`, by `deadline` (a monotonic instant) at the latest. Raises FetchError.

        What is downloaded and grows large takes `turn`.
        """
        scheme = url[:6].partition(":")[0].lower()
        if scheme == "data":
            return read_data_url(url, self._max_bytes)
        if scheme == "gs":
            return read_object(url, self._max_bytes, deadline)
        return self._fetcher.fetch(url, deadline, turn)


def read_data_url(url: str, max_bytes: int) -> bytes:
    """The bytes inside a `data:` URL, base64 or percent-encoded (RFC 2397). Raises InvalidUrl, BodyTooLarge."""
    match = _DATA.match(url)
    if match is None:
        raise InvalidUrl("this data: URL has no comma, or no media type that can be read")
    check_content_type(match[1].strip().lower())
    payload = url[match.end() :]
    if match[2].lower().endswith(";base64"):
        if len(payload) * 3 // 4 > max_bytes + 2:
            raise BodyTooLarge(f"the image has more than {max_bytes:,} bytes, the limit")
        return _decode_base64(payload)
    if len(payload) > 3 * max_bytes:
        raise BodyTooLarge(f"the image has more than {max_bytes:,} bytes, the limit")
    data = unquote_to_bytes(payload)
    if len(data) > max_bytes:
        raise BodyTooLarge(f"the image has more than {max_bytes:,} bytes, the limit")
    return data


def _decode_base64(payload: str) -> bytes:
    """Standard or URL-safe alphabet, with or without padding, no white space."""
    try:
        text = payload.encode("ascii").translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise InvalidUrl("the data: URL is not valid base64") from error


def read_object(url: str, max_bytes: int, deadline: float) -> bytes:
    """An object of Cloud Storage, read as the function's own service account. Raises FetchError."""
    bucket, name = split_url(url)
    if url[:5].lower() != "gs://" or not bucket or not name:
        raise InvalidUrl("a Cloud Storage URL is gs://bucket/object")
    try:
        client = storage_client()
    except ImportError as error:
        raise InvalidUrl("gs:// URLs need google-cloud-storage: pip install google-cloud-storage") from error
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise FetchTimeout("the download did not end in time")
    try:
        data: bytes = client.bucket(bucket).blob(name).download_as_bytes(start=0, end=max_bytes, timeout=left_s)
    except Exception as error:
        raise _storage_error(error) from error
    if len(data) > max_bytes:
        raise BodyTooLarge(f"the image has more than {max_bytes:,} bytes, the limit")
    return data


def _storage_error(error: Exception) -> FetchError:
    """By status code, which all of google-api-core's errors carry."""
    status = getattr(error, "code", None)
    if status == 404:
        return ObjectNotFound("there is no such object")
    if status in (401, 403):
        return ObjectForbidden("the function's service account may not read this object")
    return ConnectFailed("the object could not be read", reason=type(error).__name__)
