"""Sockets that enforce a download's deadline and count its bytes below TLS.

Python's `SSLSocket` has a timeout for each receive, and none for the whole handshake or read. A
host that never ends its handshake would hold the thread for ever. Here TLS works on memory buffers,
and Python code fills them, one bounded receive at a time.
"""

import socket
import ssl
from collections.abc import Callable
from typing import Any

import certifi
from urllib3.util.ssltransport import SSLTransport

from common.errors import BodyTooLarge, TlsFailed

IDLE_TIMEOUT_S = 5.0  # between two receives
HANDSHAKE_BYTES = 128 * 1024  # OpenSSL takes at most 100 KiB of certificates


class MeteredSocket(socket.socket):
    """A TCP socket whose every receive and send counts against the budget of its download."""

    budget: Any = None  # the Budget of the running download; None while the connection waits

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """Like `socket.recv_into`; also raises FetchTimeout, BodyTooLarge and BadResponse."""
        self.settimeout(self.budget.seconds(IDLE_TIMEOUT_S))
        count = super().recv_into(buffer, nbytes, flags)
        self.budget.spend(count)
        return count

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Like `socket.sendall`, with one timeout for the whole; also raises FetchTimeout."""
        self.settimeout(self.budget.seconds(IDLE_TIMEOUT_S))
        super().sendall(data, flags)


class TlsSocket(SSLTransport):
    """TLS over a MeteredSocket; raises TlsFailed if the handshake takes too many bytes."""

    def __init__(self, sock: MeteredSocket, context: ssl.SSLContext, server_hostname: str | None):
        try:
            with sock.budget.at_most(HANDSHAKE_BYTES):
                super().__init__(sock, context, server_hostname)
        except BodyTooLarge as error:
            message = f"the server's TLS handshake is larger than {HANDSHAKE_BYTES >> 10} KiB"
            raise TlsFailed(message) from error

    @property
    def budget(self) -> Any:
        """The Budget of the running download, as the socket below has it."""
        return self.socket.budget  # type: ignore[attr-defined]

    @budget.setter
    def budget(self, budget: Any) -> None:
        self.socket.budget = budget  # type: ignore[attr-defined]

    @property
    def has_unread(self) -> bool:
        """Whether bytes have arrived that no request asked for."""
        return bool(self.incoming.pending or self.sslobj.pending())

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """Like `socket.recv_into`, at most one TLS record; raises BadResponse for tiny records."""
        try:
            # Most often a whole record was received before.
            count = int(self.sslobj.read(nbytes or len(buffer), buffer))
        except ssl.SSLError:
            count = int(super().recv_into(buffer, nbytes, flags) or 0)
        self.budget.decrypted.count(count)
        return count

    def _ssl_io_loop(self, func: Callable[..., Any], *arguments: Any) -> Any:
        """Run one operation of OpenSSL, and move bytes between its buffers and the socket.

        Overrides SSLTransport's loop, which makes a needless system call to send at each read.
        """
        arguments = tuple(argument for argument in arguments if argument is not None)
        while True:
            try:
                return func(*arguments)
            except ssl.SSLWantReadError:
                pass
            finally:
                if self.outgoing.pending:
                    self.socket.sendall(self.outgoing.read())
            received = self.budget.buffer
            count = self.socket.recv_into(received)
            if count:
                self.incoming.write(received[:count])
            else:
                self.incoming.write_eof()


class MeteredContext(ssl.SSLContext):
    """An SSLContext that makes TlsSockets instead of Python's SSLSockets."""

    def wrap_socket(  # type: ignore[override]
        self, sock: MeteredSocket, *, server_hostname: str | None = None
    ) -> TlsSocket:
        """Make a TLS socket over `sock` and complete the handshake."""
        return TlsSocket(sock, self, server_hostname)


def tls_context() -> MeteredContext:
    """Create a TLS context to share between all connections, as loading certificates is slow.

    It checks certificate and host name, which is the default of PROTOCOL_TLS_CLIENT. Renegotiation
    is off, because a server could ask for one handshake after another.
    """
    context = MeteredContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.hostname_checks_common_name = False
    context.load_verify_locations(certifi.where())
    return context
