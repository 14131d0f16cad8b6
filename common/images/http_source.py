"""Downloads images from untrusted http(s) URLs, with redirects and retries inside one deadline."""

import io
import logging
import math
import random
import re
import socket
import time
from collections.abc import Mapping

import urllib3

from common.allowance import Allowance
from common.errors import (
    BlockedUrl,
    BodyTooLarge,
    FetchError,
    HttpStatus,
    TooManyRedirects,
)
from common.images.budget import Budget, PieceLimit
from common.images.content import SNIFF_BYTES, check_content_type, decoded
from common.images.failures import TRIED_STATUSES, Retry, is_passing, translate
from common.images.limits import FetchLimits
from common.images.memory_budget import LARGE_BYTES
from common.images.redirect import redirect_target
from common.images.transport import LazyTransport, Resolver
from common.images.url_policy import UrlPolicy, check_url, host_of

MAX_REDIRECTS = 10
RETRY_PAUSE_S = 0.2  # doubled after each try, and multiplied by a random number below 1
SLOW_S = 3.0
CHUNK_BYTES = 64 * 1024
OVERHEAD_BYTES = 2**20  # allowed for headers, chunk lines, TLS and redirects
OVERHEAD_SHARE = 8  # and an eighth of the body, for TLS records
REDIRECT_STATUS = (301, 302, 303, 307, 308)
GOOD_STATUS = (200, 203)
PARTIAL_STATUS = 206
_WHOLE_RANGE = re.compile(r"bytes 0-(\d{1,15})/(\d{1,15})")

log = logging.getLogger(__name__)


class HttpSource:
    """Downloads images. Safe to use from any thread; opens no socket before the first download.

    A download that takes longer than `slow_s` is logged.
    """

    schemes: tuple[str, ...] = ("http", "https")

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
        self._transport = LazyTransport(policy, resolve)
        self._headers = {
            "Accept": "image/avif,image/webp,image/*;q=0.8,*/*;q=0.5",
            "Accept-Encoding": "identity",
            "User-Agent": limits.user_agent,
        }

    def read(self, reference: str, allowance: Allowance) -> bytes:
        """Download the body at the URL `reference`, within the allowance. Raises FetchError.

        A body that grows large takes the allowance's turn. The caller releases it.
        """
        started = time.monotonic()
        max_bytes = self._max_bytes + self._max_bytes // OVERHEAD_SHARE + OVERHEAD_BYTES
        budget = Budget(allowance.within(self._timeout_s), max_bytes)
        try:
            return self._fetch_with_retries(reference, budget)
        finally:
            seconds = time.monotonic() - started
            if seconds > self._slow_s:
                log.warning(
                    "slow download",
                    extra={"host": host_of(reference), "seconds": round(seconds, 3)},
                )

    def _fetch_with_retries(self, url: str, budget: Budget) -> bytes:
        for attempt in range(self._retries + 1):
            try:
                return self._follow(url, budget)
            except Retry as failure:
                jitter = random.uniform(0, RETRY_PAUSE_S * 2**attempt)  # noqa: S311 - not for security
                pause_s = max(failure.after_s, jitter)
                if attempt == self._retries or time.monotonic() + pause_s >= budget.deadline:
                    raise failure.error from failure
                time.sleep(pause_s)
        raise AssertionError("the last try returns or raises")

    def _follow(self, url: str, budget: Budget) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            try:
                result = self._get(url, budget)
            except (FetchError, Retry):
                raise
            except Exception as error:  # errors of libraries are translated here
                raise translate(error) from error
            if isinstance(result, bytes):
                return result
            if url[:6].lower() == "https:" and result[:6].lower() != "https:":
                raise BlockedUrl("redirect from https to http")
            url = result
        raise TooManyRedirects(f"the server redirected more than {MAX_REDIRECTS} times")

    def _get(self, url: str, budget: Budget) -> bytes | str:
        """Send one GET; returns the body, or the URL that it redirects to."""
        checked = check_url(url, self._policy)
        response = self._transport.get().get(checked, self._headers, budget)
        try:
            if response.status in REDIRECT_STATUS:
                target = redirect_target(url, response.headers.getlist("Location"))
                if target is not None:
                    return target
            return self._read(response, budget)
        finally:
            # Closes the connection, unless the body was read: the rest of it is not worth reading.
            response.close()
            response.release_conn()

    def _read(self, response: urllib3.BaseHTTPResponse, budget: Budget) -> bytes:
        headers = response.headers
        _check_status(response.status, headers)
        if _number(headers.get("Content-Length", "")) > self._max_bytes:
            raise self._too_large()
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        body, pieces, unchecked = io.BytesIO(), PieceLimit(), True
        chunks = response.stream(CHUNK_BYTES, decode_content=False)
        coding = headers.get("Content-Encoding", "")
        for chunk in decoded(chunks, coding, self._max_bytes, lambda: budget.seconds(math.inf)):
            pieces.count(body.write(chunk))
            if body.tell() > self._max_bytes:
                raise self._too_large()
            if body.tell() > LARGE_BYTES:
                budget.take_turn()
            if unchecked and body.tell() >= SNIFF_BYTES:  # refuses a web page early
                check_content_type(kind, body.getvalue())
                unchecked = False
        if unchecked:
            check_content_type(kind, body.getvalue())
        return body.getvalue()  # does not copy, unlike a bytearray

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"the image is larger than the limit of {self._max_bytes:,} bytes")


def _check_status(status: int, headers: Mapping[str, str]) -> None:
    if status in GOOD_STATUS or (status == PARTIAL_STATUS and _is_whole(headers)):
        return
    error = HttpStatus(f"the server answered {status}", retryable=is_passing(status))
    if status in TRIED_STATUSES:
        raise Retry(error, after_s=_number(headers.get("Retry-After", "")))
    raise error


def _is_whole(headers: Mapping[str, str]) -> bool:
    """Whether a 206 response contains the whole file."""
    match = _WHOLE_RANGE.fullmatch(headers.get("Content-Range", "").strip().lower())
    return match is not None and int(match[1]) + 1 == int(match[2])


def _number(header: str) -> int:
    """The decimal number in a header; 0 if it is missing, not a number or has over 15 digits."""
    return int(header) if header.isascii() and header.isdecimal() and len(header) < 16 else 0
