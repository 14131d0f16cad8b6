"""File objects over pieces of an image file, within time limits and without a large copy."""

import io
import time
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from common.errors import ImageTimeout, TooComplex

Piece = bytes | memoryview
SMALL_FILE = 256 * 1024  # bytes; copying it takes less than finding the piece of each read
LARGE_READ = 4096  # bytes; smaller reads take microseconds
READS = 64  # small reads between two looks at the clocks


class _Clocks:
    """Bounds the time of a decode.

    `check` raises TooComplex after `seconds` of this thread's processor time, and ImageTimeout at
    `deadline`, a time.monotonic() instant.
    """

    def __init__(self, seconds: float, deadline: float) -> None:
        self._until = time.thread_time() + seconds
        self._deadline = deadline
        self._reads = 0

    def count(self, size: int | None) -> None:
        """Count a read of `size` bytes. Checks at each large one, and at one of READS others."""
        if self._reads % READS == 0 or size is None or not 0 <= size < LARGE_READ:
            self.check()
        self._reads += 1

    def check(self) -> None:
        """Raise if the time is over."""
        if time.thread_time() > self._until:
            raise TooComplex("the image took too long to decode")
        if time.monotonic() > self._deadline:
            raise ImageTimeout("the request's time ran out before this image was decoded")


class _SmallReader(io.BytesIO):
    """A file of at most SMALL_FILE bytes, joined: Pillow reads the head of a JPEG byte by byte."""

    def __init__(self, pieces: Sequence[Piece], clocks: _Clocks) -> None:
        super().__init__(b"".join(pieces))
        self._clocks = clocks

    def read(self, size: int | None = -1, /) -> bytes:
        self._clocks.count(size)
        return super().read(size)


class _LargeReader(io.RawIOBase):
    """Reads pieces as one file, where they are."""

    def __init__(self, pieces: Sequence[Piece], clocks: _Clocks) -> None:
        super().__init__()
        self._pieces = [piece for piece in pieces if len(piece)]
        self._starts = [0, *accumulate(map(len, self._pieces))]
        self._clocks = clocks
        self._place = 0

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
        self._clocks.count(size)
        end = self._starts[-1]
        if size is not None and size >= 0:
            end = min(end, self._place + size)
        found = self._between(self._place, end)
        self._place = max(self._place, end)
        return bytes(found[0]) if len(found) == 1 else b"".join(found)

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


Reader = _SmallReader | _LargeReader


def bounded_reader(pieces: Sequence[Piece], seconds: float, deadline: float) -> Reader:
    """A file object that reads `pieces` as one file, and looks at the time as it is read.

    Pillow parses JPEG, PNG, GIF and BMP files through `read`, so this bounds the time of a decode.
    `read` raises TooComplex after `seconds` of this thread's processor time, and ImageTimeout at
    `deadline`, a time.monotonic() instant.
    """
    clocks = _Clocks(seconds, deadline)
    is_small = sum(map(len, pieces)) <= SMALL_FILE
    return _SmallReader(pieces, clocks) if is_small else _LargeReader(pieces, clocks)
