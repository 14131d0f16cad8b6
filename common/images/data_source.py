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
_STANDARD = str.maketrans("-_", "+/")
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
    if match[2].lower().endswith(";base64"):
        if len(payload) * 3 // 4 > max_bytes + 2:
            raise BodyTooLarge(f"the image has more than {max_bytes:,} bytes, the limit")
        data = _decode_base64(payload)
    elif len(payload) > 3 * max_bytes:
        raise BodyTooLarge(f"the image has more than {max_bytes:,} bytes, the limit")
    else:
        data = b"".join(map(unquote_to_bytes, _slices(payload)))
    if len(data) > max_bytes:
        raise BodyTooLarge(f"the image has more than {max_bytes:,} bytes, the limit")
    check_content_type(match[1].strip().lower(), data[:SNIFF_BYTES])
    return data


def _slices(payload: str) -> Iterator[str]:
    """Pieces that cut no %XX in two: to decode a letter takes 250 bytes of memory for as long as its piece is read."""
    start = 0
    while start < len(payload):
        end = start + SLICE_CHARS
        cut = payload.find("%", end - 2, end)
        yield payload[start : (end := end if cut < 0 else cut)]
        start = end


def _decode_base64(payload: str) -> bytes:
    """Standard or URL-safe alphabet, with or without padding, no white space."""
    if "-" in payload or "_" in payload:
        payload = payload.translate(_STANDARD)
    payload = payload.rstrip("=")
    try:
        return base64.b64decode(payload + "=" * (-len(payload) % 4), validate=True)
    except ValueError as error:  # binascii.Error too
        raise InvalidUrl("the data: URL is not valid base64") from error
