"""The sockets under `requests`: they connect to checked addresses alone, within one deadline and one byte budget.

The seam is urllib3's `HTTPConnection._new_conn`: a name is resolved once, every answer is checked, and the socket
connects to the address that was checked. `host` is left alone, so Host, SNI and the certificate check stay on the name.
Time and bytes are counted under `http.client`, in front of the socket, so that status lines, headers, interim answers,
chunk lines and trailers count as well as the body.
"""

import contextvars
import http.client
import io
import math
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import certifi
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

from common.allowance import Allowance
from common.errors import BlockedUrl, BodyTooLarge, DnsFailure, FetchTimeout
from common.images.memory_budget import LARGE_BYTES
from common.images.url_policy import PORTS, UrlPolicy, check_address

CONNECT_TIMEOUT_S = 3.0
IDLE_TIMEOUT_S = 5.0
HEAD_BYTES = 256 * 1024
OVERHEAD_BYTES = 2**20  # headers, chunk lines and redirects beside the body
MAX_ADDRESSES = 4  # of one name that are tried
CONNECTIONS_PER_HOST = 4
POOLED_HOSTS = 32
RESOLVER_THREADS = 16

AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]
Resolver = Callable[..., Sequence[AddressInfo]]


@dataclass
class Budget:
    """What is left of one download, all its redirects and retries included."""

    allowance: Allowance
    bytes_left: int
    bytes_received: int = 0

    def seconds(self, at_most: float) -> float:
        """Seconds left, at most `at_most`. Raises FetchTimeout when there are none."""
        left_s = self.allowance.remaining_s()
        if left_s <= 0:
            raise FetchTimeout("the download did not end in time")
        return min(left_s, at_most)

    @property
    def deadline(self) -> float:
        """When the download must have ended, a time.monotonic() instant."""
        return self.allowance.deadline

    def take_turn(self) -> None:
        """The download has become large. Raises FetchTimeout when no turn comes in time."""
        if not self.allowance.take_turn():
            raise FetchTimeout("other large downloads took all the time")

    def spend(self, count: int) -> None:
        """Count received bytes. Raises BodyTooLarge; FetchTimeout when they are many and no turn comes."""
        self.bytes_left -= count
        self.bytes_received += count
        if self.bytes_left < 0:
            raise BodyTooLarge("the server sent more bytes than the limit")
        if self.bytes_received > LARGE_BYTES:
            self.take_turn()


budget: contextvars.ContextVar[Budget] = contextvars.ContextVar("budget")


class _Meter(io.RawIOBase):
    """Every received byte passes here."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw, self._sock = raw, sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        current = budget.get()
        self._sock.settimeout(current.seconds(IDLE_TIMEOUT_S))
        count: int = self._raw.readinto(buffer) or 0
        current.spend(count)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_Meter(self.fp.detach(), sock))

    def begin(self) -> None:
        """Read status line and headers, with a bound of their own: http.client's is per line."""
        current = budget.get()
        outer, current.bytes_left = current.bytes_left, min(current.bytes_left, HEAD_BYTES)
        head = current.bytes_left
        super().begin()
        current.bytes_left = outer - (head - current.bytes_left)


class _Pinned:
    """Mixed into urllib3's connections: the only place where a name becomes an address."""

    response_class = _Response
    policy: UrlPolicy
    resolve: "BoundedResolver"
    scheme_port: int
    host: str
    port: int
    _dns_host: str
    _tunnel_host: str | None

    def _new_conn(self) -> socket.socket:
        if self._tunnel_host:
            raise BlockedUrl("tunnel")
        addresses = self.resolve(self._dns_host, self.port)
        for address in addresses:  # one forbidden answer taints the name: which one is used is a matter of chance
            check_address(address[4][0], self.scheme_port, self.port, self.policy)
        failure: OSError | None = None
        for family, kind, protocol, _, target in addresses[:MAX_ADDRESSES]:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(budget.get().seconds(CONNECT_TIMEOUT_S))
                sock.connect(target)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                check_address(sock.getpeername()[0], self.scheme_port, self.port, self.policy)
            except OSError as error:
                failure = error
                sock.close()
            except BaseException:
                sock.close()
                raise
            else:
                return sock
        raise urllib3.exceptions.NewConnectionError(cast(HTTPConnection, self), "no address answered") from failure


class BoundedResolver:
    """Resolves names in a few threads of its own, because getaddrinfo has no timeout."""

    def __init__(self, resolve: Resolver) -> None:
        self._resolve = resolve
        self._pool = ThreadPoolExecutor(RESOLVER_THREADS, "resolve")

    def __call__(self, host: str, port: int) -> Sequence[AddressInfo]:
        """getaddrinfo's answers for TCP. Raises DnsFailure."""
        pending = self._pool.submit(self._resolve, host, port, 0, socket.SOCK_STREAM)
        try:
            answers = pending.result(budget.get().seconds(CONNECT_TIMEOUT_S))
        except socket.gaierror as error:
            temporary = error.errno == socket.EAI_AGAIN
            message = "the host's name could not be resolved"
            raise DnsFailure(message, reason=f"gaierror {error.errno}", retryable=temporary) from error
        except (TimeoutError, UnicodeError, OSError) as error:
            pending.cancel()
            raise DnsFailure("the host's name could not be resolved", reason=type(error).__name__) from error
        if not answers:
            raise DnsFailure("the host's name has no address")
        return answers


def _tls_context() -> ssl.SSLContext:
    """One for all connections: requests would read the certificates anew for each, which costs ten times the rest."""
    context = create_urllib3_context()
    context.load_verify_locations(certifi.where())
    return context


class _PatientPool:
    """Mixed into urllib3's pools: the wait for one of a host's few connections ends with the download's deadline."""

    def _get_conn(self, timeout: float | None = None) -> Any:  # noqa: ARG002 - requests gives none: for ever
        current = budget.get()
        try:
            return super()._get_conn(current.seconds(math.inf))  # type: ignore[misc]
        except urllib3.exceptions.EmptyPoolError as error:
            raise FetchTimeout("other downloads from this host took all the time") from error


class PinnedAdapter(HTTPAdapter):
    """`requests`' adapter over pinned connections. Use `send`, never a Session: that reads proxies, .netrc, cookies."""

    def __init__(self, policy: UrlPolicy, resolve: Resolver = socket.getaddrinfo) -> None:
        self._policy, self._resolver = policy, BoundedResolver(resolve)
        super().__init__(pool_connections=POOLED_HOSTS, pool_maxsize=CONNECTIONS_PER_HOST, pool_block=True)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        """Let the pools make pinned connections."""
        super().init_poolmanager(connections, maxsize, block, ssl_context=_tls_context(), **options)
        self.poolmanager.pool_classes_by_scheme = {
            "http": self._pinned_pool(urllib3.HTTPConnectionPool, HTTPConnection, PORTS["http"]),
            "https": self._pinned_pool(urllib3.HTTPSConnectionPool, HTTPSConnection, PORTS["https"]),
        }

    def _pinned_pool(self, pool: type, connection: type, scheme_port: int) -> type:
        attributes = {"policy": self._policy, "resolve": self._resolver, "scheme_port": scheme_port}
        pinned = type("PinnedConnection", (_Pinned, connection), attributes)
        return type("PinnedPool", (_PatientPool, pool), {"ConnectionCls": pinned})

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:  # noqa: ARG002 - requests' signature
        """The context holds the certificates already."""
        conn.cert_reqs = "CERT_REQUIRED"


class LazyAdapter:
    """Makes the adapter on first use: its threads would not survive the server's fork."""

    def __init__(self, policy: UrlPolicy, resolve: Resolver) -> None:
        self._policy, self._resolve = policy, resolve
        self._lock = threading.Lock()
        self._adapter: PinnedAdapter | None = None

    def get(self) -> PinnedAdapter:
        """The adapter, one for all threads."""
        with self._lock:
            if self._adapter is None:
                self._adapter = PinnedAdapter(self._policy, self._resolve)
            return self._adapter
