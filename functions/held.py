"""A connection that the server's loop holds, without a thread."""

from dataclasses import dataclass, field

from gunicorn.workers.gthread import TConn

from functions.connection import Pace
from functions.request_head import Frame
from functions.turn_away import Like


@dataclass(eq=False)
class Held:
    """A connection without a thread, until the monotonic instant `until`."""

    conn: TConn
    until: float
    pace: Pace | None = None  # of the incoming request or the outgoing answer
    received: bytearray = field(default_factory=bytearray)
    reserved_bytes: int = 0
    frame: Frame | None = None

    @property
    def like(self) -> Like | None:
        """What its request is compared by; None unless exactly one request has arrived."""
        is_whole = self.frame and self.frame.size_bytes == len(self.received)
        return Like.of(self.received) if is_whole else None
