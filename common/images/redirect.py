"""Where a redirect leads: `Location` read as browsers read it. Pure rules, no sockets."""

import re
from collections.abc import Sequence
from urllib.parse import quote, urljoin

from common.errors import BadResponse, InvalidUrl

# Printable ASCII that may stand in a URL, `%` included: what is escaped already stays as it is.
_KEPT = "!#$%&'()*+,-./:;=?@[\\]^_`{|}~"
_AUTHORITY = re.compile(rb"((?:[a-zA-Z][a-zA-Z0-9+.-]*:)?//)([^/?#\\]*)(.*)", re.DOTALL)
_DROPPED = re.compile(rb"[\t\r\n]")  # browsers drop them anywhere in a URL
_STRIPPED = bytes(range(0x21))


def redirect_target(url: str, locations: Sequence[str]) -> str | None:
    """The absolute URL that a response of `url` redirects to; None if it names none.

    `locations` are the values of its Location headers, in latin-1 as `http.client` gives them.
    Bytes that may not stand in a URL are percent-encoded one by one, whatever their charset; the
    host is read as UTF-8. Raises BadResponse if the headers differ; InvalidUrl.
    """
    given = {_bytes(location) for location in locations} - {b""}
    if not given:
        return None
    if len(given) > 1:
        raise BadResponse("the server redirected to several places at once", retryable=False)
    try:
        return urljoin(url, _escaped(given.pop()))
    except ValueError as error:  # brackets that do not close, letters that would become a slash
        raise InvalidUrl("the server redirected to an invalid URL") from error


def _bytes(location: str) -> bytes:
    return _DROPPED.sub(b"", location.encode("latin-1", "replace").strip(_STRIPPED))


def _escaped(location: bytes) -> str:
    """`location` in ASCII, but for its host. Raises UnicodeDecodeError, a ValueError."""
    match = _AUTHORITY.fullmatch(location)
    if match is None:
        return quote(location, safe=_KEPT)
    scheme, authority, rest = match.groups()
    return scheme.decode("ascii") + authority.decode("utf-8") + quote(rest, safe=_KEPT)
