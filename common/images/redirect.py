"""Reads the target of a redirect from `Location` as browsers do. Pure functions."""

import re
from collections.abc import Sequence
from urllib.parse import quote, urljoin

from common.errors import BadResponse, InvalidUrl

# Printable ASCII that is allowed in a URL. `%` is among it, so that escapes stay as they are.
_KEPT = "!#$%&'()*+,-./:;=?@[\\]^_`{|}~"
_AUTHORITY = re.compile(rb"((?:[a-zA-Z][a-zA-Z0-9+.-]*:)?//)([^/?#\\]*)(.*)", re.DOTALL)
_DROPPED = re.compile(rb"[\t\r\n]")  # browsers drop them anywhere in a URL
_STRIPPED = bytes(range(0x21))


def redirect_target(url: str, locations: Sequence[str]) -> str | None:
    """The absolute URL that a response of `url` redirects to; None if it has no target.

    `locations` are the values of its Location headers, in latin-1 as `http.client` returns them.
    Bytes that are not allowed in a URL are percent-encoded one by one, whatever their charset. The
    host is read as UTF-8. Raises BadResponse if the headers differ; InvalidUrl.
    """
    given = {_bytes(location) for location in locations} - {b""}
    if not given:
        return None
    if len(given) > 1:
        raise BadResponse("the server redirected to several URLs at once", retryable=False)
    try:
        return urljoin(url, _escaped(given.pop()))
    except ValueError as error:  # an open bracket, or a letter that becomes a slash
        raise InvalidUrl("the server redirected to an invalid URL") from error


def _bytes(location: str) -> bytes:
    return _DROPPED.sub(b"", location.encode("latin-1", "replace").strip(_STRIPPED))


def _escaped(location: bytes) -> str:
    """Percent-encode `location`, except its host. Raises UnicodeDecodeError, a ValueError."""
    match = _AUTHORITY.fullmatch(location)
    if match is None:
        return quote(location, safe=_KEPT)
    scheme, authority, rest = match.groups()
    return scheme.decode("ascii") + authority.decode("utf-8") + quote(rest, safe=_KEPT)
