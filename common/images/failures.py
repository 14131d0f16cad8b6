"""Translates the errors of libraries during a download to FetchError, and says which to retry.

Their messages go neither into ours nor into the log. They may contain a signed URL, or text from
the host.
"""

import http.client
import logging
import ssl
import traceback

import urllib3

from common.errors import (
    BadResponse,
    ConnectFailed,
    FetchError,
    FetchTimeout,
    InvalidUrl,
    TlsFailed,
)

log = logging.getLogger(__name__)

TRIED_STATUSES = (429, 502, 503, 504)  # retried within the download
PASSING_STATUSES = (408, 425, 429)  # temporary, as is every 5xx except LASTING_5XX
LASTING_5XX = (501, 505, 506, 508, 510, 511)


class Retry(Exception):
    """A temporary failure; `after_s` is the delay that the server asked for."""

    def __init__(self, error: FetchError, after_s: float = 0.0) -> None:
        super().__init__(error.code)
        self.error = error
        self.after_s = after_s


def is_passing(status: int) -> bool:
    """Whether the status is temporary, so that a later try may succeed."""
    return status in PASSING_STATUSES or (status >= 500 and status not in LASTING_5XX)


def translate(error: Exception) -> FetchError | Retry:
    """Translate an error to FetchError or Retry, by the chain of its causes.

    An unexpected error becomes BadResponse, so that one image never fails its whole request. The
    log has its class and place.
    """
    chain = _chain(error)
    reason = " < ".join(type(link).__name__ for link in chain)
    if own := next((link for link in chain if isinstance(link, FetchError)), None):
        return Retry(own) if own.code == "dns_failure" and own.retryable else own
    return (
        _of_connection(chain, reason) or _of_response(chain, reason) or _unexpected(error, reason)
    )


def _of_connection(chain: list[BaseException], reason: str) -> FetchError | Retry | None:
    if _any(chain, urllib3.exceptions.LocationValueError, http.client.InvalidURL, UnicodeError):
        return InvalidUrl("this is not a valid URL", reason=reason)
    if _any(chain, urllib3.exceptions.SSLError, ssl.SSLError):
        message, may_pass = "the TLS handshake or the certificate check failed", False
        if _any(chain, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            message, may_pass = "the server closed the TLS connection", True
        return TlsFailed(message, reason=reason, retryable=may_pass)
    if _any(chain, urllib3.exceptions.NewConnectionError, ConnectionRefusedError):
        failure = ConnectFailed("could not connect to the server", reason=reason)
        return failure if _any(chain, TimeoutError) else Retry(failure)
    return None


def _of_response(chain: list[BaseException], reason: str) -> FetchError | Retry | None:
    broken = BadResponse("the server's response is not valid HTTP", reason=reason, retryable=False)
    if _any(chain, urllib3.exceptions.InvalidChunkLength):
        return broken
    if _any(chain, http.client.IncompleteRead) or _is_early_end(chain):
        return BadResponse("the server's response ended early", reason=reason)
    if _any(chain, ConnectionError, http.client.RemoteDisconnected):
        return Retry(ConnectFailed("the server closed the connection", reason=reason))
    if _any(chain, TimeoutError, urllib3.exceptions.TimeoutError):
        return FetchTimeout("the server took too long to send data", reason=reason)
    # ValueError and OverflowError: http.client accepts lengths such as -5 and 10**30.
    known = (http.client.HTTPException, urllib3.exceptions.HTTPError, ValueError, OverflowError)
    if _any(chain, *known):
        return broken
    if _any(chain, OSError):
        return BadResponse("the connection to the server broke", reason=reason)
    return None


def _is_early_end(chain: list[BaseException]) -> bool:
    """Whether a chunked body ended where a chunk should start.

    Only the message of urllib3's ProtocolError says so.
    """
    return any(
        isinstance(link, urllib3.exceptions.ProtocolError) and "ended prematurely" in str(link)
        for link in chain
    )


def _unexpected(error: Exception, reason: str) -> FetchError:
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
    log.error("unexpected error in a download", extra={"reason": reason, "where": " ".join(where)})
    return BadResponse("the server's response could not be read", reason=reason, retryable=False)


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links


def _any(chain: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(link, kinds) for link in chain)
