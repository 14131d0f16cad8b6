"""GET an image from a URL that a stranger chose: redirects, retries and content checks inside one deadline."""

import http.client
import io
import logging
import random
import socket
import time
from urllib.parse import urljoin

import requests
import urllib3

from common.allowance import Allowance
from common.errors import (
    BadResponse,
    BlockedUrl,
    BodyTooLarge,
    ConnectFailed,
    FetchError,
    FetchTimeout,
    HttpStatus,
    InvalidUrl,
    TlsFailed,
    TooManyRedirects,
    UnsupportedType,
)
from common.images.limits import FetchLimits
from common.images.memory_budget import LARGE_BYTES
from common.images.transport import OVERHEAD_BYTES, Budget, LazyAdapter, Resolver, budget
from common.images.url_policy import UrlPolicy, check_url, host_of

MAX_REDIRECTS = 4
RETRY_PAUSE_S = 0.2  # doubled with each try, times a random number below 1
SLOW_S = 3.0
CHUNK_BYTES = 64 * 1024
MAX_TINY_CHUNKS = 10_000  # chunks of a byte each would cost far more time than their bytes tell
RETRYABLE_STATUS = (429, 502, 503, 504)
REDIRECT_STATUS = (301, 302, 303, 307, 308)
REFUSED_TYPES = (
    "text/",
    "application/json",
    "application/xml",
    "application/xhtml",
    "image/svg",
    "video/",
    "audio/",
)
READ_ENCODINGS = ("", "identity", "gzip", "deflate")

log = logging.getLogger(__name__)


class _Retry(Exception):
    """A failure that may pass; `after_s` is what the server asked for."""

    def __init__(self, error: FetchError, after_s: float = 0.0) -> None:
        super().__init__(error.code)
        self.error, self.after_s = error, after_s


class HttpSource:
    """Downloads images. Safe for many threads; opens no socket before the first download.

    A download that takes longer than `slow_s` is logged.
    """

    schemes = ("http", "https")

    def __init__(
        self,
        limits: FetchLimits,
        policy: UrlPolicy,
        resolve: Resolver = socket.getaddrinfo,
        slow_s: float = SLOW_S,
    ) -> None:
        self._timeout_s = limits.timeout_s
        self._retries = limits.retries
        self._max_bytes = limits.max_bytes
        self._policy = policy
        self._slow_s = slow_s
        self._adapter = LazyAdapter(policy, resolve)
        self._headers = {
            "Accept": "image/avif,image/webp,image/*;q=0.8",
            "Accept-Encoding": "identity",
            "User-Agent": limits.user_agent,
        }

    def read(self, reference: str, allowance: Allowance) -> bytes:
        """The body behind the URL `reference`, within the allowance. Raises FetchError.

        A body that grows large takes the allowance's turn and leaves it to the caller.
        """
        started = time.monotonic()
        max_bytes = self._max_bytes + OVERHEAD_BYTES
        current = Budget(allowance.within(self._timeout_s), max_bytes)
        token = budget.set(current)
        try:
            return self._fetch_with_retries(reference, current)
        finally:
            budget.reset(token)
            seconds = time.monotonic() - started
            if seconds > self._slow_s:
                log.warning(
                    "slow download",
                    extra={"host": host_of(reference), "seconds": round(seconds, 3)},
                )

    def _fetch_with_retries(self, url: str, current: Budget) -> bytes:
        for attempt in range(self._retries + 1):
            try:
                return self._follow(url)
            except _Retry as failure:
                jitter = random.uniform(0, RETRY_PAUSE_S * 2**attempt)  # noqa: S311 - spreads retries, guards nothing
                pause_s = max(failure.after_s, jitter)
                if attempt == self._retries or time.monotonic() + pause_s >= current.deadline:
                    raise failure.error from failure
                time.sleep(pause_s)
        raise AssertionError("the last try returns or raises")

    def _follow(self, url: str) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            check_url(url, self._policy)
            response = self._get(url)
            try:
                if (
                    response.status_code not in REDIRECT_STATUS
                    or "Location" not in response.headers
                ):
                    return self._read(response)
                target = _target(url, response.headers["Location"])
            finally:
                response.raw.close()  # a body that nobody reads would cost its bytes; the connection goes with it
                response.close()
            if url[:6].lower() == "https:" and target[:6].lower() != "https:":
                raise BlockedUrl("redirect from https to http")
            url = target
        raise TooManyRedirects(f"the server redirected more than {MAX_REDIRECTS} times")

    def _get(self, url: str) -> requests.Response:
        """One GET, answered up to its headers: the seam where foreign errors become ours."""
        try:
            request = requests.Request("GET", url, self._headers).prepare()
            check_url(
                request.url or "", self._policy
            )  # what is asked for may differ from what was written
            return self._adapter.get().send(request, stream=True)
        except FetchError:
            raise
        except Exception as error:
            raise _translate(error) from error

    def _read(self, response: requests.Response) -> bytes:
        _check_status(response)
        _check_headers(response, self._max_bytes)
        body, size, chunks = io.BytesIO(), 0, 0
        try:
            for chunk in response.raw.stream(CHUNK_BYTES, decode_content=True):
                size += body.write(chunk)
                chunks += 1
                if size > self._max_bytes:
                    raise _too_large(self._max_bytes)
                if chunks > MAX_TINY_CHUNKS + size // 64:
                    raise BadResponse(
                        "the server sent the image in too many pieces", retryable=False
                    )
                if size > LARGE_BYTES:
                    budget.get().take_turn()
        except FetchError:
            raise
        except Exception as error:
            raise _translate(error) from error
        return body.getvalue()  # no copy, other than a bytearray's


def _target(url: str, location: str) -> str:
    """Where a redirect leads. Raises InvalidUrl."""
    try:
        return urljoin(url, location.encode("latin-1").decode("utf-8", "replace"))
    except ValueError as error:  # brackets that do not close, letters that would become a slash
        raise InvalidUrl("the server redirected to what is no URL") from error


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the image has more than {limit:,} bytes, the limit")


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    if status == 200:
        return
    error = HttpStatus(f"the server answered {status}", retryable=status == 429 or status >= 500)
    if status in RETRYABLE_STATUS:
        raise _Retry(error, after_s=_number(response.headers.get("Retry-After", "")))
    raise error


def _check_headers(response: requests.Response, max_bytes: int) -> None:
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    check_content_type(kind)
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in READ_ENCODINGS:
        raise UnsupportedType(
            "the image is compressed in a way that is not read; gzip and deflate are"
        )
    if _number(response.headers.get("Content-Length", "")) > max_bytes:
        raise _too_large(max_bytes)


def check_content_type(kind: str) -> None:
    """Refuse what cannot be a picture; anything else is for its first bytes to show. Raises UnsupportedType."""
    if kind.startswith(REFUSED_TYPES):
        raise UnsupportedType(f"the content type is {kind[:60]}, expected an image")


def _number(header: str) -> int:
    """A header's plain decimal; 0 for anything else, such as 5,000 digits."""
    return int(header) if header.isascii() and header.isdecimal() and len(header) < 16 else 0


def _translate(error: BaseException) -> FetchError | _Retry:
    """A foreign error as one of ours, by the chain of its causes. Its text stays out: it may hold a signed URL."""
    chain = _chain(error)
    reason = " < ".join(type(link).__name__ for link in chain)
    if own := next((link for link in chain if isinstance(link, FetchError)), None):
        return _Retry(own) if own.code == "dns_failure" and own.retryable else own
    if _any(
        chain, requests.exceptions.InvalidURL, urllib3.exceptions.LocationValueError, UnicodeError
    ):
        return InvalidUrl("this is not a URL", reason=reason)
    if _any(chain, urllib3.exceptions.SSLError, requests.exceptions.SSLError):
        return TlsFailed("the TLS connection to the server could not be trusted", reason=reason)
    if _any(chain, urllib3.exceptions.NewConnectionError, ConnectionRefusedError):
        timed_out = _any(chain, TimeoutError)
        failure = ConnectFailed("no connection to the server", reason=reason)
        return failure if timed_out else _Retry(failure)
    if _any(chain, ConnectionError, http.client.RemoteDisconnected) and not _any(
        chain, http.client.IncompleteRead
    ):
        return _Retry(ConnectFailed("the server closed the connection", reason=reason))
    if _any(chain, TimeoutError, urllib3.exceptions.TimeoutError):
        return FetchTimeout("the server took too long to send data", reason=reason)
    if _any(chain, http.client.HTTPException, urllib3.exceptions.HTTPError, OSError):
        return BadResponse("the server's answer is broken or ends early", reason=reason)
    raise error  # a bug of ours is no caller's error


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or link.__context__
    return links


def _any(chain: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(link, kinds) for link in chain)
