"""Finds the length of a request from its head. gunicorn's parser reads the request itself."""

import re
from dataclasses import dataclass

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*(?=\r\n)", re.IGNORECASE)
_UNFRAMED = re.compile(rb"\r\n(?:transfer-encoding|expect)[ \t]*:", re.IGNORECASE)
_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Frame:
    """A request whose head has arrived.

    `size_bytes` counts head and body. It is None if a thread has to read the body.
    """

    size_bytes: int | None

    def is_ready(self, received: bytearray) -> bool:
        """Whether to hand the request to a thread: the loop has nothing more to wait for."""
        return self.size_bytes is None or len(received) >= self.size_bytes


def read_frame(received: bytearray, max_bytes: int) -> Frame | None:
    """The request at the start of `received`, or None while its head is incomplete.

    A thread has to read the body if it has no Content-Length, if the caller sends Expect, or if
    it is larger than `max_bytes`.
    """
    end = received.find(_END)
    if end < 0:
        return None
    head = bytes(received[: end + 2])
    if _UNFRAMED.search(head):
        return Frame(None)
    lengths = _LENGTH.findall(head)
    # The parser refuses a request with two lengths, so the loop waits for no body.
    body_bytes = int(lengths[0]) if len(lengths) == 1 else 0
    return Frame(end + len(_END) + body_bytes if body_bytes <= max_bytes else None)
