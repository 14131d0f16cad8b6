"""Sockets that look at the download's clock and count its bytes below TLS.

Python's `SSLSocket` shakes hands and reads in C for as long as bytes come, with a timeout for each
receive and none for the whole: a host that never ends its handshake holds the thread for ever. Here
TLS works on buffers in memory, and Python code fetches what it asks for, one bounded receive at a
time.
"""

import socket
import ssl
from collections.abc import Callable
from typing import Any

import certifi
from urllib3.util.ssltransport import SSLTransport

from common.errors import BodyTooLarge, TlsFailed
from common.images.budget import budget

IDLE_TIMEOUT_S = 5.0  # between two receives
HANDSHAKE_BYTES = 128 * 1024  # OpenSSL takes at most 100 KiB of certificates


class MeteredSocket(socket.socket):
    """A TCP socket whose every receive and send keeps to the budget of the download in hand."""

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As socket's. Raises FetchTimeout, BodyTooLarge and BadResponse too."""
        current = budget.get()
        self.settimeout(current.seconds(IDLE_TIMEOUT_S))
        count = super().recv_into(buffer, nbytes, flags)
        current.spend(count)
        return count

    def sendall(self, data: Any, flags: int = 0) -> None:
        """As socket's; the timeout holds for the whole. Raises FetchTimeout too."""
        self.settimeout(budget.get().seconds(IDLE_TIMEOUT_S))
        super().sendall(data, flags)


class TlsSocket(SSLTransport):
    """TLS over a MeteredSocket. Raises TlsFailed if the handshake has no end."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_hostname: str | None):
        try:
            with budget.get().at_most(HANDSHAKE_BYTES):
                super().__init__(sock, context, server_hostname)
        except BodyTooLarge as error:
            raise TlsFailed("the server's TLS handshake does not end") from error

    @property
    def has_unread(self) -> bool:
        """Whether bytes came that nobody asked for."""
        return bool(self.incoming.pending or self.sslobj.pending())

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        """As socket's, at most one TLS record. Raises BadResponse if the records are tiny."""
        try:
            count = int(
                self.sslobj.read(nbytes or len(buffer), buffer)
            )  # a record is there already
        except ssl.SSLError:
            count = int(super().recv_into(buffer, nbytes, flags) or 0)
        budget.get().decrypted.count(count)
        return count

    def _ssl_io_loop(self, func: Callable[..., Any], *arguments: Any) -> Any:
        """Run one operation of OpenSSL, and move bytes between its buffers and the socket.

        Overrides SSLTransport's loop, which makes a system call to send nothing at each read.
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
            received = budget.get().buffer
            count = self.socket.recv_into(received)
            if count:
                self.incoming.write(received[:count])
            else:
                self.incoming.write_eof()


class MeteredContext(ssl.SSLContext):
    """Makes TlsSockets where urllib3 asks for Python's own."""

    def wrap_socket(  # type: ignore[override]
        self, sock: socket.socket, *, server_hostname: str | None = None
    ) -> TlsSocket:
        """TLS over `sock`, a MeteredSocket, once the handshake is done."""
        return TlsSocket(sock, self, server_hostname)


def tls_context() -> MeteredContext:
    """A context for all connections: to load the certificates takes ten times as long as the rest.

    It checks certificate and host name, which is the default of PROTOCOL_TLS_CLIENT. Renegotiation
    is off: a server could ask for one handshake after the other.
    """
    context = MeteredContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.hostname_checks_common_name = False
    context.load_verify_locations(certifi.where())
    return context
