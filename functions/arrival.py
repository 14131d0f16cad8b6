"""Measures how long a request waited in the server's queue before a thread took it."""

import socket
import struct

_LAST_DATA_RECV_OFFSET = 52  # of tcpi_last_data_recv in Linux's struct tcp_info, milliseconds


def waited_s(connection: socket.socket | None) -> float:
    """Seconds since the connection last received data. Call it before reading more of the request.

    gunicorn does not record when it queued a request, so the kernel's TCP_INFO stands in for
    that. 0.0 if the system cannot tell.
    """
    if connection is None or not hasattr(socket, "TCP_INFO"):
        return 0.0
    try:
        info = connection.getsockopt(
            socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECV_OFFSET + 4
        )
    except OSError:  # a Unix socket or a closed socket
        return 0.0
    if len(info) < _LAST_DATA_RECV_OFFSET + 4:
        return 0.0
    (milliseconds,) = struct.unpack_from("=I", info, _LAST_DATA_RECV_OFFSET)
    return float(milliseconds) / 1000
