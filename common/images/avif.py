"""How large the frames inside an AVIF file are: its decoder believes them, whatever size the file tells of itself.

Every AV1 stream that the file's tables point at is looked at, used or not, up to its sequence headers. References:
ISO/IEC 14496-12 (boxes, `iloc`, `infe`, `stco`), AV1 Bitstream & Decoding Process Specification, 5.3 to 5.5.
"""

from collections.abc import Iterator, Sequence
from itertools import chain

from common.errors import CorruptImage, TooComplex

MAX_PARTS = 10_000  # boxes, places of items, units of streams: more cost time and memory alone
NESTED = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"iprp")
SEQUENCE_HEADER = 1
HEADER_BYTES = 512  # more than any sequence header has before its frame size: 32 operating points of 89 bits at most
Box = tuple[bytes, int, int]  # kind, and where its content starts and ends


class _Bits:
    """Numbers of any width, the highest bit first."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def read(self, count: int) -> int:
        end = self._place + count
        if end > 8 * len(self._data):
            raise CorruptImage("the AVIF file ends inside a table or a header")
        value = int.from_bytes(self._data[self._place // 8 : -(-end // 8)], "big") >> (-end % 8)
        self._place = end
        return value & ((1 << count) - 1)


class _Parts:
    """Counts what is looked at."""

    def __init__(self) -> None:
        self._left = MAX_PARTS

    def spend(self, count: int = 1) -> None:
        self._left -= count
        if self._left < 0:
            raise TooComplex(f"the AVIF file has more than {MAX_PARTS:,} parts")


def coded_pixels(data: bytes) -> int:
    """Pixels of the largest frame that any stream of the file may hold. Raises CorruptImage, TooComplex."""
    headers = (content for kind, content in _units(data, _Parts()) if kind == SEQUENCE_HEADER)
    return max((_frame_pixels(_Bits(header)) for header in headers), default=0)


def _boxes(data: bytes, start: int, end: int, parts: _Parts) -> Iterator[Box]:
    """All boxes, those inside others too."""
    while start + 8 <= end:
        parts.spend()
        size, kind, content = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8], start + 8
        if size == 1:
            size, content = int.from_bytes(data[start + 8 : start + 16], "big"), start + 16
        stop = min(start + size, end) if size else end
        if stop < content:
            raise CorruptImage("the AVIF file has a broken box")
        yield kind, content, stop
        if kind == b"meta":
            yield from _boxes(data, content + 4, stop, parts)  # after version and flags
        elif kind == b"iinf":
            count_bytes = 2 if data[content : content + 1] == b"\0" else 4  # by the version
            yield from _boxes(data, content + 4 + count_bytes, stop, parts)
        elif kind in NESTED:
            yield from _boxes(data, content, stop, parts)
        start = stop


def _units(data: bytes, parts: _Parts) -> Iterator[tuple[int, bytes]]:
    """Type and first bytes of the open bitstream units of every AV1 item, and from every chunk of a track on."""
    boxes = list(_boxes(data, 0, len(data), parts))
    if any(kind == b"mini" for kind, _, _ in boxes):
        raise TooComplex("the AVIF file has a minimized header, which is not read")
    seen: set[int] = set()  # chunks follow each other
    streams = [(memoryview(data), start, seen) for start in _chunks(data, boxes, parts)]
    for stream, start, known in chain(streams, ((item, 0, set[int]()) for item in _items(data, boxes, parts))):
        for unit in _units_of(stream, start, known, is_layered=b"a1lx" in data):
            parts.spend()
            yield unit


def _items(data: bytes, boxes: Sequence[Box], parts: _Parts) -> Iterator[memoryview]:
    view, joined = memoryview(data), 0
    items = {_av1_item(data[start:end]) for kind, start, end in boxes if kind == b"infe"}
    inner = [start for kind, start, _ in boxes if kind == b"idat"]
    tables = [_Bits(data[start:end]) for kind, start, end in boxes if kind == b"iloc"]
    for item, is_inner, extents in chain.from_iterable(_locations(table, parts) for table in tables):
        for origin in (inner if is_inner else [0]) if item in items else []:
            pieces = [view[origin + start : origin + start + size if size else None] for start, size in extents]
            joined += sum(map(len, pieces[1:]))
            if joined > len(data):
                raise TooComplex("the AVIF file uses its bytes more than once")
            yield pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))


def _chunks(data: bytes, boxes: Sequence[Box], parts: _Parts) -> Iterator[int]:
    for kind, start, end in boxes:
        if kind in (b"stco", b"co64"):
            width = 4 if kind == b"stco" else 8
            for place in range(start + 8, end - width + 1, width):
                parts.spend()
                yield int.from_bytes(data[place : place + width], "big")


def _av1_item(infe: bytes) -> int | None:
    """The item's id, if it is an AV1 image."""
    width = 4 if infe[:1] == b"\3" else 2
    return int.from_bytes(infe[4 : 4 + width], "big") if infe[6 + width : 10 + width] == b"av01" else None


def _locations(iloc: _Bits, parts: _Parts) -> Iterator[tuple[int, bool, list[tuple[int, int]]]]:
    """Of each item its id, whether its bytes are in `idat`, and its extents: start and size, 0 for the rest."""
    version = iloc.read(8)
    iloc.read(24)
    offset_bits, size_bits, base_bits, index_bits = (8 * iloc.read(4) for _ in range(4))
    id_bits = 32 if version == 2 else 16
    for _ in range(iloc.read(id_bits)):
        item = iloc.read(id_bits)
        method = iloc.read(16) & 15 if version else 0
        iloc.read(16)
        base, count = iloc.read(base_bits), iloc.read(16)
        parts.spend(1 + count)
        extents = []
        for _ in range(count):
            if version:
                iloc.read(index_bits)
            extents.append((base + iloc.read(offset_bits), iloc.read(size_bits)))
        if extents:
            yield item, method == 1, extents


def _units_of(stream: memoryview, place: int, seen: set[int], *, is_layered: bool) -> Iterator[tuple[int, bytes]]:
    """Those of one stream from `place` on (5.3), as far as they make sense: its decoder stops there as well."""
    while place < len(stream) and place not in seen:
        seen.add(place)
        head = stream[place]
        place += 2 if head & 4 else 1
        size: int | None = len(stream) - place
        if head & 2:
            size, place = _leb128(stream, place)
        elif is_layered:
            raise TooComplex("the AVIF file has a layer of unknown length")
        if head & 0x80 or size is None:
            return
        yield head >> 3, bytes(stream[place : place + min(size, HEADER_BYTES)])
        place += size


def _leb128(stream: memoryview, place: int) -> tuple[int | None, int]:
    """The number, None for a broken one, and the place behind it."""
    value = 0
    for count, byte in enumerate(stream[place : place + 8]):
        value |= (byte & 0x7F) << (7 * count)
        if not byte & 0x80:
            return value, place + count + 1
    return None, place


def _frame_pixels(header: _Bits) -> int:
    """Of a sequence header (5.5.1). Where a frame may have a size of its own: of the largest that can be written."""
    header.read(4)
    is_reduced = header.read(1)
    if is_reduced:
        header.read(5)
    else:
        _skip_operating_points(header)
    width_bits, height_bits = header.read(4) + 1, header.read(4) + 1
    width, height = header.read(width_bits) + 1, header.read(height_bits) + 1
    return width * height if is_reduced else 1 << (width_bits + height_bits)


def _skip_operating_points(header: _Bits) -> None:
    delay_bits = _skip_timing(header) if header.read(1) else 0  # timing_info_present_flag
    has_display_delay = header.read(1)
    for _ in range(header.read(5) + 1):
        header.read(12)
        if header.read(5) > 7:  # seq_level_idx, from which on there is a tier
            header.read(1)
        if delay_bits and header.read(1):
            header.read(2 * delay_bits + 1)
        if has_display_delay and header.read(1):
            header.read(4)


def _skip_timing(header: _Bits) -> int:
    """Bits of the delays that each operating point tells; 0: it tells none."""
    header.read(64)
    if header.read(1):  # equal_picture_interval: a number as long as the zeros before it
        zeros = next((count for count in range(32) if header.read(1)), None)
        if zeros is None:
            raise CorruptImage("the AVIF file has a broken number")
        header.read(zeros)
    if not header.read(1):  # decoder_model_info_present_flag
        return 0
    delay_bits = header.read(5) + 1
    header.read(42)
    return delay_bits
