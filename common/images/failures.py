"""Foreign errors of a download as ours, and which of them may pass.

Their texts stay out of ours and of the log: they may hold a signed URL, or what a host sent.
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

TRIED_STATUSES = (429, 502, 503, 504)  # are tried again at once
PASSING_STATUSES = (408, 425, 429)  # and these of 5xx:
LASTING_5XX = (501, 505, 506, 508, 510, 511)


class Retry(Exception):
    """A failure that may pass; `after_s` is what the server asked for."""

    def __init__(self, error: FetchError, after_s: float = 0.0) -> None:
        super().__init__(error.code)
        self.error, self.after_s = error, after_s


def is_passing(status: int) -> bool:
    """Whether a caller who tries again later may get another status than this one."""
    return status in PASSING_STATUSES or (status >= 500 and status not in LASTING_5XX)


def translate(error: Exception) -> FetchError | Retry:
    """A foreign error as one of ours, by the chain of its causes.

    An error that no host should be able to cause is a BadResponse as well, as one image never fails
    its request; it is logged by its class and place.
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
        return InvalidUrl("this is not a URL", reason=reason)
    if _any(chain, urllib3.exceptions.SSLError, ssl.SSLError):
        message, may_pass = "the TLS connection to the server could not be trusted", False
        if _any(chain, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            message, may_pass = "the server ended the TLS connection", True
        return TlsFailed(message, reason=reason, retryable=may_pass)
    if _any(chain, urllib3.exceptions.NewConnectionError, ConnectionRefusedError):
        failure = ConnectFailed("no connection to the server", reason=reason)
        return failure if _any(chain, TimeoutError) else Retry(failure)
    return None


def _of_response(chain: list[BaseException], reason: str) -> FetchError | Retry | None:
    broken = BadResponse("the server's answer is not valid HTTP", reason=reason, retryable=False)
    if _any(chain, urllib3.exceptions.InvalidChunkLength):
        return broken
    if _any(chain, http.client.IncompleteRead) or _is_early_end(chain):
        return BadResponse("the server's answer ends early", reason=reason)
    if _any(chain, ConnectionError, http.client.RemoteDisconnected):
        return Retry(ConnectFailed("the server closed the connection", reason=reason))
    if _any(chain, TimeoutError, urllib3.exceptions.TimeoutError):
        return FetchTimeout("the server took too long to send data", reason=reason)
    # ValueError and OverflowError: http.client reads lengths such as -5 and 10**30 as they are.
    known = (http.client.HTTPException, urllib3.exceptions.HTTPError, ValueError, OverflowError)
    if _any(chain, *known):
        return broken
    if _any(chain, OSError):
        return BadResponse("the connection to the server broke", reason=reason)
    return None


def _is_early_end(chain: list[BaseException]) -> bool:
    """urllib3 says in words alone that a chunked body ended where a chunk should start."""
    return any(
        isinstance(link, urllib3.exceptions.ProtocolError) and "ended prematurely" in str(link)
        for link in chain
    )


def _unexpected(error: Exception, reason: str) -> FetchError:
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
    log.error("unexpected error in a download", extra={"reason": reason, "where": " ".join(where)})
    return BadResponse("the server's answer could not be read", reason=reason, retryable=False)


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links


def _any(chain: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(link, kinds) for link in chain)
