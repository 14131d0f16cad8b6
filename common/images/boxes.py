"""Reads the boxes of an AVIF file (ISO/IEC 14496-12, 4.2) within bounds."""

from collections.abc import Iterator

from common.errors import CorruptImage, TooComplex

# Boxes, item locations and stream units of one file. Real files have fewer; more take time.
MAX_PARTS = 10_000
NESTED = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"iprp")
Box = tuple[bytes, int, int]  # kind, and where its content starts and ends


class Parts:
    """Counts the parts of a file that are read, against MAX_PARTS."""

    def __init__(self) -> None:
        self._left = MAX_PARTS

    def spend(self, count: int = 1) -> None:
        """Count `count` more parts. Raises TooComplex above the limit."""
        self._left -= count
        if self._left < 0:
            raise TooComplex(f"the AVIF file has more than {MAX_PARTS:,} parts")


def boxes_of(data: bytes, start: int, end: int, parts: Parts) -> Iterator[Box]:
    """All boxes between `start` and `end`, with nested boxes. Raises CorruptImage, TooComplex."""
    while start + 8 <= end:
        parts.spend()
        size = int.from_bytes(data[start : start + 4], "big")
        kind = data[start + 4 : start + 8]
        content = start + 8
        if size == 1:
            size, content = int.from_bytes(data[start + 8 : start + 16], "big"), start + 16
        stop = min(start + size, end) if size else end
        if stop < content:
            raise CorruptImage("the AVIF file has a broken box")
        yield kind, content, stop
        if kind == b"meta":
            yield from boxes_of(data, content + 4, stop, parts)  # after version and flags
        elif kind == b"iinf":
            count_bytes = 2 if data[content : content + 1] == b"\0" else 4  # by the version
            yield from boxes_of(data, content + 4 + count_bytes, stop, parts)
        elif kind in NESTED:
            yield from boxes_of(data, content, stop, parts)
        start = stop
