"""Estimates the memory that decoding an AVIF file takes, from the frames inside it.

The decoder trusts the frames, not the size in the file's tables. So this module reads the frame
headers of every AV1 stream that the tables point to, used or not.
References: ISO/IEC 14496-12 (`iloc`, `infe`, `stco`, `stsz`); AV1 specification, 5.3 (open
bitstream units).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from common.errors import TooComplex
from common.images import av1
from common.images.av1 import Bits, Frame
from common.images.boxes import Box, Parts, boxes_of

MAX_SEQUENCES = 16  # distinct sequence headers; each frame is read with all that may apply
MAX_JOINED = 8  # the bytes of all joined items, as a multiple of the file's bytes
# Frames in memory for one stream: eight references, and those being decoded, shown and returned.
HELD_FRAMES = 12
STREAM_BYTES = 2**20  # a decoder's own tables, for each stream
Unit = tuple[int, tuple[int, int], bytes]  # type, temporal and spatial layer, the first bytes


@dataclass(frozen=True)
class Plan:
    """The memory that decoding a file takes, and the frames that its image is composed of."""

    held_bytes: int  # of all frames that decoders keep at the same time
    pixel_bytes: float  # per pixel, of the planes of the largest sample type
    sizes: frozenset[tuple[int, int]]  # width and height of each frame


def plan(data: bytes) -> Plan:
    """Read the frame headers of all streams in the file. Raises CorruptImage, TooComplex."""
    streams = list(_streams(data, Parts()))
    known = _Sequences()
    every = known.of(unit for units in streams for unit in units)
    frames = [_frames(units, known.of(units) or every) for units in streams]
    return Plan(
        held_bytes=sum(STREAM_BYTES + _held(stream) for stream in frames),
        pixel_bytes=max((sequence.pixel_bytes() for sequence in every), default=0),
        sizes=frozenset(
            (frame.width, frame.height) for stream in frames for frame in stream if frame.width
        ),
    )


class _Sequences:
    """The distinct sequence headers of a file, each parsed once."""

    def __init__(self) -> None:
        self._known: dict[bytes, av1.Sequence] = {}

    def of(self, units: Iterable[Unit]) -> list[av1.Sequence]:
        """The sequence headers among the units, parsed. Raises CorruptImage, TooComplex."""
        contents = {content for kind, _, content in units if kind == av1.SEQUENCE_HEADER}
        for content in contents - self._known.keys():
            self._known[content] = av1.parse_sequence(content)
        if len(self._known) > MAX_SEQUENCES:
            raise TooComplex(f"the AVIF file has more than {MAX_SEQUENCES} sequence headers")
        return [self._known[content] for content in contents]


def _frames(units: list[Unit], sequences: list[av1.Sequence]) -> list[Frame]:
    """The frames of one stream, each at the largest size that any applicable header allows.

    These headers are the stream's own. For a stream without any they are those of other streams,
    as streams may share a decoder.
    """
    frames = []
    for kind, layers, content in units:
        if kind in av1.FRAME_HEADERS:
            read = [
                frame
                for sequence in sequences
                if (frame := av1.read_frame(content, sequence, layers))
            ]
            frames += [max(read, key=lambda frame: frame.held_bytes)] if read else []
    return frames


def _held(frames: list[Frame]) -> int:
    """The bytes of the HELD_FRAMES largest frames.

    A frame that takes its size from another one counts as the largest.
    """
    largest = max((frame.held_bytes for frame in frames), default=0)
    sizes = sorted((frame.held_bytes if frame.width else largest for frame in frames), reverse=True)
    return sum(sizes[:HELD_FRAMES])


def _streams(data: bytes, parts: Parts) -> Iterator[list[Unit]]:
    """The open bitstream units of every AV1 item, and of the first sample of every track."""
    boxes = list(boxes_of(data, 0, len(data), parts))
    if any(kind == b"mini" for kind, _, _ in boxes):
        raise TooComplex("the AVIF file has a minimized header, which is not supported")
    for stream in chain(_items(data, boxes, parts), _first_samples(data, boxes)):
        yield list(_units_of(stream, parts, is_layered=b"a1lx" in data))


def _items(data: bytes, boxes: Sequence[Box], parts: Parts) -> Iterator[memoryview]:
    view = memoryview(data)
    # Items that are layers of one image have the same extents, so their bytes are joined once.
    joined: dict[tuple[int, tuple[tuple[int, int], ...]], memoryview] = {}
    left = MAX_JOINED * len(data)
    items = {_av1_item(data[start:end]) for kind, start, end in boxes if kind == b"infe"}
    inner = [start for kind, start, _ in boxes if kind == b"idat"]
    tables = [Bits(data[start:end]) for kind, start, end in boxes if kind == b"iloc"]
    for item, is_inner, extents in chain.from_iterable(
        _locations(table, parts) for table in tables
    ):
        for origin in (inner if is_inner else [0]) if item in items else []:
            pieces = [
                view[origin + start : origin + start + size if size else None]
                for start, size in extents
            ]
            if len(pieces) == 1:
                yield pieces[0]
                continue
            key = (origin, tuple(extents))
            if key not in joined:
                length = sum(map(len, pieces))
                left -= length
                if length > len(data) or left < 0:
                    raise TooComplex("the AVIF file refers to the same bytes too often")
                joined = {key: memoryview(b"".join(pieces))}  # only the latest is kept
            yield joined[key]


def _first_samples(data: bytes, boxes: Sequence[Box]) -> Iterator[memoryview]:
    """The first sample of each track, or more: each is as long as the longest of them."""
    sizes = [
        _number(data, start + place)
        for kind, start, _ in boxes
        if kind == b"stsz"
        for place in (4, 12)
    ]
    for kind, start, end in boxes:
        width = {b"stco": 4, b"co64": 8}.get(kind)
        if width and start + 8 + width <= end:
            offset = _number(data, start + 8, width)
            yield memoryview(data)[offset : offset + max(sizes, default=0)]


def _number(data: bytes, place: int, width: int = 4) -> int:
    return int.from_bytes(data[place : place + width], "big")


def _av1_item(infe: bytes) -> int | None:
    """The item's id, if it is an AV1 image."""
    width = 4 if infe[:1] == b"\3" else 2
    return (
        int.from_bytes(infe[4 : 4 + width], "big")
        if infe[6 + width : 10 + width] == b"av01"
        else None
    )


def _locations(iloc: Bits, parts: Parts) -> Iterator[tuple[int, bool, list[tuple[int, int]]]]:
    """Each item's id, whether its bytes are in `idat`, and its extents as (start, size).

    A size of 0 means up to the end.
    """
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


def _units_of(stream: memoryview, parts: Parts, *, is_layered: bool) -> Iterator[Unit]:
    """The units of one stream (5.3), up to the first invalid one, where its decoder stops too."""
    place = 0
    while place < len(stream):
        parts.spend()
        head, has_extension = stream[place], bool(stream[place] & 4)
        layers = stream[place + 1] if has_extension and place + 1 < len(stream) else 0
        place += 1 + has_extension
        size: int | None = len(stream) - place
        if head & 2:
            size, place = _leb128(stream, place)
        elif is_layered:
            raise TooComplex("the AVIF file has a layer of unknown length, which is not supported")
        if head & 0x80 or size is None:
            return
        yield (
            head >> 3,
            (layers >> 5, layers >> 3 & 3),
            bytes(stream[place : place + min(size, av1.HEADER_BYTES)]),
        )
        place += size


def _leb128(stream: memoryview, place: int) -> tuple[int | None, int]:
    """Read a LEB128 number; returns it, or None if it is invalid, and the position after it."""
    value = 0
    for count, byte in enumerate(stream[place : place + 8]):
        value |= (byte & 0x7F) << (7 * count)
        if not byte & 0x80:
            return value, place + count + 1
    return None, place
