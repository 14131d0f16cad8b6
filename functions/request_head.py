"""How long a request is, as far as its first bytes tell. The server's own parser decides what it means."""

import re
from dataclasses import dataclass

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*(?=\r\n)", re.IGNORECASE)
_UNFRAMED = re.compile(rb"\r\n(?:transfer-encoding|expect)[ \t]*:", re.IGNORECASE)
_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Frame:
    """A request whose head has come. `size_bytes` are of head and body; None: a thread has to read the body."""

    size_bytes: int | None

    def is_ready(self, received: bytearray) -> bool:
        """Whether a thread can have the request: nothing is missing that the loop could wait for."""
        return self.size_bytes is None or len(received) >= self.size_bytes


def read_frame(received: bytearray, max_bytes: int) -> Frame | None:
    """The request at the start of `received`; None while its head is not complete.

    Bodies that a thread has to read: those without a length, those that the caller wants to be asked for (Expect), and
    those over `max_bytes`.
    """
    end = received.find(_END)
    if end < 0:
        return None
    head = bytes(received[: end + 2])
    if _UNFRAMED.search(head):
        return Frame(None)
    lengths = _LENGTH.findall(head)
    # The parser refuses a second length, so there is nothing to wait for.
    body_bytes = int(lengths[0]) if len(lengths) == 1 else 0
    return Frame(end + len(_END) + body_bytes if body_bytes <= max_bytes else None)
