"""HTTP connections to checked addresses alone, within one deadline and one byte budget.

The seam is urllib3's `HTTPConnection._new_conn`: a name is resolved once, every answer is checked,
and the socket connects to the address that was checked. `host` is left alone, so Host, SNI and the
certificate check stay on the name. urllib3's pools read no environment: no proxies, no .netrc.
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
from common.images.budget import budget
from common.images.metered import MeteredSocket, tls_context
from common.images.response import Response
from common.images.url_policy import PORTS, UrlPolicy, check_address

CONNECT_TIMEOUT_S = 3.0
MAX_ADDRESSES = 4  # of one name that are tried
CONNECTIONS_PER_HOST = 4
POOLED_HOSTS = 32
RESOLVER_THREADS = 16
MAY_PASS = (socket.EAI_AGAIN, socket.EAI_MEMORY, socket.EAI_SYSTEM)  # failures to resolve a name

AddressInfo = tuple[Any, Any, int, str, tuple[Any, ...]]
Resolver = Callable[..., Sequence[AddressInfo]]


class _Pinned:
    """Mixed into urllib3's connections: the only place where a name becomes an address."""

    response_class = Response
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
        addresses = self.resolve(self._dns_host, self.port)
        for address in (
            addresses
        ):  # one forbidden answer taints the name: which one is used is a matter of chance
            check_address(address[4][0], self.scheme_port, self.port, self.policy)
        failure: OSError | None = None
        for family, kind, protocol, _, target in addresses[:MAX_ADDRESSES]:
            sock = MeteredSocket(family, kind, protocol)
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
        raise urllib3.exceptions.NewConnectionError(
            cast(HTTPConnection, self), "no address answered"
        ) from failure

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open and holds nothing that nobody asked for."""
        connected = super().is_connected  # type: ignore[misc]
        return connected and not getattr(self.sock, "has_unread", False)

    def putrequest(self, method: str, url: str, **options: bool) -> None:  # noqa: ARG002 - urllib3 was given "/"
        """Ask for the budget's target, which urllib3 does not know."""
        super().putrequest(method, budget.get().target, **options)  # type: ignore[misc]


class BoundedResolver:
    """Resolves names in a few threads of its own, because getaddrinfo has no timeout."""

    def __init__(self, resolve: Resolver) -> None:
        self._resolve = resolve
        self._pool = ThreadPoolExecutor(RESOLVER_THREADS, "resolve")

    def __call__(self, host: str, port: int) -> Sequence[AddressInfo]:
        """getaddrinfo's answers for TCP. Raises DnsFailure; InvalidUrl if it cannot be a name."""
        pending = self._pool.submit(self._resolve, host, port, 0, socket.SOCK_STREAM)
        try:
            answers = pending.result(budget.get().seconds(CONNECT_TIMEOUT_S))
        except socket.gaierror as error:
            message, reason = "the host's name could not be resolved", f"gaierror {error.errno}"
            raise DnsFailure(message, reason=reason, retryable=error.errno in MAY_PASS) from error
        except UnicodeError as error:
            raise InvalidUrl("the URL's host is not a valid name") from error
        except (TimeoutError, OSError) as error:
            pending.cancel()
            raise DnsFailure(
                "the host's name could not be resolved", reason=type(error).__name__
            ) from error
        if not answers:
            raise DnsFailure("the host's name has no address", retryable=False)
        return answers


class _PatientPool:
    """Mixed into urllib3's pools: a wait for one of a host's connections ends with the deadline."""

    def _get_conn(self, timeout: float | None = None) -> Any:  # noqa: ARG002 - by default it waits for ever
        current = budget.get()
        try:
            return super()._get_conn(current.seconds(math.inf))  # type: ignore[misc]
        except urllib3.exceptions.EmptyPoolError as error:
            raise FetchTimeout("other downloads from this host took all the time") from error


class Transport:
    """Sends GET requests over pinned connections, which are kept and shared by all threads."""

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

    def get(self, url: Url, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """The answer to one GET, read up to its headers: no redirect is followed, nothing retried.

        Raises FetchError, and what urllib3 raises. Close the response and release its connection.
        """
        budget.get().target = url.request_uri
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
        )

    def _pinned_pool(self, pool: type, connection: type, scheme_port: int) -> type:
        attributes = {"policy": self._policy, "resolve": self._resolver, "scheme_port": scheme_port}
        pinned = type("PinnedConnection", (_Pinned, connection), attributes)
        return type("PinnedPool", (_PatientPool, pool), {"ConnectionCls": pinned})


class LazyTransport:
    """Makes the transport on first use: its threads would not survive the server's fork."""

    def __init__(self, policy: UrlPolicy, resolve: Resolver) -> None:
        self._policy, self._resolve = policy, resolve
        self._lock = threading.Lock()
        self._transport: Transport | None = None

    def get(self) -> Transport:
        """The transport, one for all threads."""
        with self._lock:
            if self._transport is None:
                self._transport = Transport(self._policy, self._resolve)
            return self._transport
