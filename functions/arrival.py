"""How long a request has waited in the server's own queue, before a thread took it up."""

import socket
import struct

_LAST_DATA_RECV_OFFSET = 52  # of tcpi_last_data_recv in Linux's struct tcp_info, milliseconds


def waited_s(connection: socket.socket | None) -> float:
    """Seconds since the last byte of a request came, asked before more of it is read.

    0 where the system does not tell: the server has no place for the instant at which it queued it.
    """
    if connection is None or not hasattr(socket, "TCP_INFO"):
        return 0.0
    try:
        info = connection.getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECV_OFFSET + 4
        )
    except OSError:  # a Unix socket, or one that has ended
        return 0.0
    if len(info) < _LAST_DATA_RECV_OFFSET + 4:
        return 0.0
    (milliseconds,) = struct.unpack_from("=I", info, _LAST_DATA_RECV_OFFSET)
    return float(milliseconds) / 1000
