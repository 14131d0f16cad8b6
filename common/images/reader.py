"""A file object over pieces of another file, without a copy and within time limits."""

import io
import time
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from common.errors import ImageTimeout, TooComplex

Piece = bytes | memoryview
LARGE_READ = 4096  # bytes; smaller reads take microseconds
READS = 64  # small reads between two looks at the clocks


class BoundedReader(io.RawIOBase):
    """Reads `pieces` as one file. Each large read and one of READS others check the time limits.

    Pillow parses JPEG, PNG, GIF and BMP files through `read`, so this bounds the time of a decode.
    `read` raises TooComplex after `seconds` of this thread's processor time, and ImageTimeout at
    `deadline`, a time.monotonic() instant.
    """

    def __init__(self, pieces: Sequence[Piece], seconds: float, deadline: float) -> None:
        super().__init__()
        self._pieces = [piece for piece in pieces if len(piece)]
        self._starts = [0, *accumulate(map(len, self._pieces))]
        self._until = time.thread_time() + seconds
        self._deadline = deadline
        self._place = 0
        self._reads = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._starts[-1]}[whence]
        self._place = max(0, origin + offset)
        return self._place

    def read(self, size: int | None = -1, /) -> bytes:
        end = self._starts[-1]
        if size is not None and size >= 0:
            end = min(end, self._place + size)
        if self._reads % READS == 0 or end - self._place >= LARGE_READ:
            self._check_time()
        self._reads += 1
        found = self._between(self._place, end)
        self._place = max(self._place, end)
        return bytes(found[0]) if len(found) == 1 else b"".join(found)

    def _check_time(self) -> None:
        if time.thread_time() > self._until:
            raise TooComplex("the image took too long to decode")
        if time.monotonic() > self._deadline:
            raise ImageTimeout("the request's time ran out before this image was decoded")

    def _between(self, start: int, end: int) -> Sequence[Piece]:
        """The parts of the pieces from `start` up to `end`."""
        found: list[Piece] = []
        number = bisect_right(self._starts, start) - 1
        while start < end:
            piece, first = self._pieces[number], self._starts[number]
            part = piece[start - first : end - first]
            found.append(part)
            start += len(part)
            number += 1
        return found
