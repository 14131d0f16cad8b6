"""Reads images inside `data:` URLs."""

import base64
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from common.allowance import Allowance
from common.errors import BodyTooLarge, FetchTimeout, InvalidUrl
from common.images.content import SNIFF_BYTES, check_content_type
from common.images.memory_budget import LARGE_BYTES

SLICE_CHARS = 16 * 1024
_STANDARD = bytes.maketrans(b"-_", b"+/")
_SPACE = b" \t\n\r\f\v"
_IS_BASE64 = re.compile(r";\s*base64\s*\Z", re.IGNORECASE)
MAX_MEDIA_TYPE_CHARS = 8192  # bounds the time of the regular expression
_DATA = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)


class DataSource:
    """Reads `data:` URLs of at most `max_bytes`."""

    schemes = ("data",)

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def read(self, reference: str, allowance: Allowance) -> bytes:
        """The bytes inside a `data:` URL. Raises FetchError.

        A large URL takes the allowance's turn.
        """
        if len(reference) > LARGE_BYTES and not allowance.take_turn():
            raise FetchTimeout("the time ran out while waiting for other large images")
        return read_data_url(reference, self._max_bytes)


def read_data_url(url: str, max_bytes: int) -> bytes:
    """The bytes inside a `data:` URL, base64 or percent-encoded (RFC 2397). Raises FetchError."""
    match = _DATA.match(url, 0, MAX_MEDIA_TYPE_CHARS)
    if match is None:
        raise InvalidUrl("this data: URL has no comma, or an invalid media type")
    payload = url[match.end() :]
    if _IS_BASE64.search(match[2]):
        data = _decode_base64(payload, max_bytes)
    elif len(payload) > 3 * max_bytes:
        raise BodyTooLarge(f"the image is larger than the limit of {max_bytes:,} bytes")
    else:
        data = _unescaped(payload)
    if len(data) > max_bytes:
        raise BodyTooLarge(f"the image is larger than the limit of {max_bytes:,} bytes")
    check_content_type(match[1].strip().lower(), data[:SNIFF_BYTES])
    return data


def _unescaped(payload: str) -> bytes:
    return b"".join(map(unquote_to_bytes, _slices(payload)))


def _slices(payload: str) -> Iterator[str]:
    """Cut `payload` into slices, never inside a %XX escape.

    Decoding takes 250 bytes of memory for each escape of a slice, so slices are short.
    """
    start = 0
    while start < len(payload):
        end = start + SLICE_CHARS
        cut = payload.find("%", end - 2, end)
        yield payload[start : (end := end if cut < 0 else cut)]
        start = end


def _decode_base64(payload: str, max_bytes: int) -> bytes:
    """Decode base64 as browsers do in a data: URL; the URL-safe alphabet is allowed too.

    Padding is optional. Escapes (%2B) and white space, such as line breaks, are allowed anywhere.
    """
    try:
        data = _unescaped(payload) if "%" in payload else payload.encode("ascii")
        data = data.translate(_STANDARD, _SPACE).rstrip(b"=")
        if len(data) * 3 // 4 > max_bytes:
            raise BodyTooLarge(f"the image is larger than the limit of {max_bytes:,} bytes")
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except ValueError as error:  # binascii.Error and UnicodeEncodeError too
        raise InvalidUrl("the data: URL is not valid base64") from error
