"""HTTP connections to checked addresses only, within one deadline and one byte budget.

This module overrides urllib3's `HTTPConnection._new_conn`. It resolves a name once, checks every
answer, and connects the socket to a checked address. `host` stays unchanged, so the Host header,
SNI and the certificate check use the name. urllib3 itself reads no proxies, .netrc or cookies.
"""

import math
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import Url

from common.errors import BlockedUrl, DnsFailure, FetchTimeout, InvalidUrl
from common.images.budget import Budget
from common.images.metered import MeteredSocket, tls_context
from common.images.response import Response
from common.images.url_policy import PORTS, UrlPolicy, check_address

CONNECT_TIMEOUT_S = 3.0
MAX_ADDRESSES = 4  # to try of one name
CONNECTIONS_PER_HOST = 4
POOLED_HOSTS = 32
RESOLVER_THREADS = 16
MAY_PASS = (socket.EAI_AGAIN, socket.EAI_MEMORY, socket.EAI_SYSTEM)  # temporary resolver errors

AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]
Resolver = Callable[..., Sequence[AddressInfo]]


class _Pinned:
    """A mixin for urllib3's connections; it resolves and checks the host name."""

    response_class = Response
    budget: Any = None  # the Budget of the running download; None while the connection waits
    policy: UrlPolicy
    resolve: "BoundedResolver"
    scheme_port: int
    host: str
    port: int
    sock: Any
    _dns_host: str
    _tunnel_host: str | None

    def _new_conn(self) -> socket.socket:
        if self._tunnel_host:
            raise BlockedUrl("tunnel")
        addresses = self.resolve(self._dns_host, self.port, self.budget)
        # One forbidden address blocks the name, because the order of the addresses is random.
        for address in addresses:
            check_address(address[4][0], self.scheme_port, self.port, self.policy)
        failure: OSError | None = None
        for family, kind, protocol, _, target in addresses[:MAX_ADDRESSES]:
            sock = MeteredSocket(family, kind, protocol)
            sock.budget = self.budget
            try:
                sock.settimeout(self.budget.seconds(CONNECT_TIMEOUT_S))
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
        raise urllib3.exceptions.NewConnectionError(
            cast(HTTPConnection, self), "no address accepted the connection"
        ) from failure

    @property
    def is_connected(self) -> bool:
        """Whether another request can use the connection: it is open and has no unread bytes."""
        connected = super().is_connected  # type: ignore[misc]
        return connected and not getattr(self.sock, "has_unread", False)

    def use(self, budget: Budget | None) -> None:
        """Let the connection spend from the budget of its next download, or from none."""
        self.budget = budget
        if self.sock is not None:
            self.sock.budget = budget

    def putrequest(self, method: str, url: str, **options: bool) -> None:  # noqa: ARG002 - always "/"
        """Request the budget's target instead of `url`, as urllib3 does not know it."""
        super().putrequest(method, self.budget.target, **options)  # type: ignore[misc]


class BoundedResolver:
    """Resolves names in its own threads, because getaddrinfo has no timeout."""

    def __init__(self, resolve: Resolver) -> None:
        self._resolve = resolve
        self._pool = ThreadPoolExecutor(RESOLVER_THREADS, "resolve")

    def __call__(self, host: str, port: int, budget: Budget) -> Sequence[AddressInfo]:
        """The answers of getaddrinfo for TCP.

        Raises DnsFailure; InvalidUrl for an invalid name; FetchTimeout if the download's own time
        is over.
        """
        pending = self._pool.submit(self._resolve, host, port, 0, socket.SOCK_STREAM)
        try:
            answers = pending.result(budget.seconds(CONNECT_TIMEOUT_S))
        except socket.gaierror as error:
            message, reason = "the host name could not be resolved", f"gaierror {error.errno}"
            raise DnsFailure(message, reason=reason, retryable=error.errno in MAY_PASS) from error
        except UnicodeError as error:
            raise InvalidUrl("the URL's host name is not valid") from error
        except (TimeoutError, OSError) as error:
            pending.cancel()
            if budget.is_over:
                raise FetchTimeout("the time ran out while the host name was resolved") from error
            raise DnsFailure(
                "the host name could not be resolved", reason=type(error).__name__
            ) from error
        if not answers:
            raise DnsFailure("the host name has no address", retryable=False)
        return answers


class _PatientPool:
    """A mixin for urllib3's pools that gives a connection the budget of its next download.

    `urlopen` passes its `pool_timeout` on to `_get_conn` as it is: here that is the budget.
    """

    def _get_conn(self, timeout: Budget) -> Any:
        try:
            connection = super()._get_conn(timeout.seconds(math.inf))  # type: ignore[misc]
        except urllib3.exceptions.EmptyPoolError as error:
            message = "the time ran out while waiting for other downloads from this host"
            raise FetchTimeout(message) from error
        connection.use(timeout)
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.use(None)
        super()._put_conn(conn)  # type: ignore[misc]


class Transport:
    """Sends GET requests over connections to checked addresses, shared by all threads."""

    def __init__(self, policy: UrlPolicy, resolve: Resolver = socket.getaddrinfo) -> None:
        self._policy = policy
        self._resolver = BoundedResolver(resolve)
        self._pools = urllib3.PoolManager(
            POOLED_HOSTS,
            maxsize=CONNECTIONS_PER_HOST,
            block=True,
            ssl_context=tls_context(),
            cert_reqs="CERT_REQUIRED",
        )
        self._pools.pool_classes_by_scheme = {
            "http": self._pinned_pool(urllib3.HTTPConnectionPool, HTTPConnection, PORTS["http"]),
            "https": self._pinned_pool(
                urllib3.HTTPSConnectionPool, HTTPSConnection, PORTS["https"]
            ),
        }

    def get(self, url: Url, headers: Mapping[str, str], budget: Budget) -> urllib3.BaseHTTPResponse:
        """Send one GET and read the response's headers, without redirects and retries.

        The caller closes the response and releases its connection. Raises FetchError, and passes on
        urllib3's exceptions.
        """
        budget.target = url.request_uri
        pool = self._pools.connection_from_host(url.host, url.port, url.scheme)
        return pool.urlopen(
            "GET",
            "/",
            headers=headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
            pool_timeout=cast(Any, budget),
        )

    def _pinned_pool(self, pool: type, connection: type, scheme_port: int) -> type:
        attributes = {"policy": self._policy, "resolve": self._resolver, "scheme_port": scheme_port}
        pinned = type("PinnedConnection", (_Pinned, connection), attributes)
        return type("PinnedPool", (_PatientPool, pool), {"ConnectionCls": pinned})


class LazyTransport:
    """Creates the transport on first use, as its threads would not survive the server's fork."""

    def __init__(self, policy: UrlPolicy, resolve: Resolver) -> None:
        self._policy = policy
        self._resolve = resolve
        self._lock = threading.Lock()
        self._transport: Transport | None = None

    def get(self) -> Transport:
        """The transport, shared by all threads; created on the first call."""
        with self._lock:
            if self._transport is None:
                self._transport = Transport(self._policy, self._resolve)
            return self._transport
