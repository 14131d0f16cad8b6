"""Images inside `data:` URLs."""

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
MAX_MEDIA_TYPE_CHARS = 8192  # beyond, the regular expression would take its time
_DATA = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)


class DataSource:
    """Reads `data:` URLs of at most `max_bytes`."""

    schemes = ("data",)

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def read(self, reference: str, allowance: Allowance) -> bytes:
        """The bytes inside a `data:` URL. Raises FetchError. A large one takes the allowance's turn."""
        if len(reference) > LARGE_BYTES and not allowance.take_turn():
            raise FetchTimeout("other large images took all the time")
        return read_data_url(reference, self._max_bytes)


def read_data_url(url: str, max_bytes: int) -> bytes:
    """The bytes inside a `data:` URL, base64 or percent-encoded (RFC 2397). Raises FetchError."""
    match = _DATA.match(url, 0, MAX_MEDIA_TYPE_CHARS)
    if match is None:
        raise InvalidUrl("this data: URL has no comma, or no media type that can be read")
    payload = url[match.end() :]
    if _IS_BASE64.search(match[2]):
        data = _decode_base64(payload, max_bytes)
    elif len(payload) > 3 * max_bytes:
        raise BodyTooLarge(f"the image has more than {max_bytes:,} bytes, the limit")
    else:
        data = _unescaped(payload)
    if len(data) > max_bytes:
        raise BodyTooLarge(f"the image has more than {max_bytes:,} bytes, the limit")
    check_content_type(match[1].strip().lower(), data[:SNIFF_BYTES])
    return data


def _unescaped(payload: str) -> bytes:
    return b"".join(map(unquote_to_bytes, _slices(payload)))


def _slices(payload: str) -> Iterator[str]:
    """Pieces that cut no %XX in two: to decode a letter takes 250 bytes of memory for as long as its piece is read."""
    start = 0
    while start < len(payload):
        end = start + SLICE_CHARS
        cut = payload.find("%", end - 2, end)
        yield payload[start : (end := end if cut < 0 else cut)]
        start = end


def _decode_base64(payload: str, max_bytes: int) -> bytes:
    """The bytes of base64 as browsers read it in a data: URL, and a little more.

    Standard or URL-safe alphabet, with or without padding. Escapes (%2B) and white space, such as
    line breaks, are allowed anywhere.
    """
    try:
        data = _unescaped(payload) if "%" in payload else payload.encode("ascii")
        data = data.translate(_STANDARD, _SPACE).rstrip(b"=")
        if len(data) * 3 // 4 > max_bytes:
            raise BodyTooLarge(f"the image has more than {max_bytes:,} bytes, the limit")
        return base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
    except ValueError as error:  # binascii.Error and UnicodeEncodeError too
        raise InvalidUrl("the data: URL is not valid base64") from error
