"""Parses the structure of a JPEG file before a decoder reads it. Pure functions.

The parser follows the markers as libjpeg does, so it counts exactly the scans that libjpeg decodes.
Reference: ITU-T T.81, annex B.
"""

import re
from dataclasses import dataclass, field

from common.errors import CorruptImage, TooComplex, UnsupportedImage
from common.images.reader import Piece

MAX_SEGMENTS = 10_000  # before and between scans; real files have far fewer
MAX_SCANS = 64  # Pillow has no limit, and a progressive JPEG of 162 KB can take 19 s
MAX_PROFILE_BYTES = 2 * 2**20
END = b"\xff\xd9"
# Entropy-coded bytes that no encoder writes after the last row; see `with_other_ending`.
FILLER = bytes(range(1, 240)) * 4

_SOI, _EOI, _SOS, _TEM = 0xD8, 0xD9, 0xDA, 0x01
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_SEQUENTIAL = (0xC0, 0xC1, 0xC9)
_LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
_HIERARCHICAL = (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF)
_TABLES = (0xC4, 0xCC, 0xDB, 0xDD)  # Huffman, arithmetic, quantization, restart interval
_ALONE = (_SOI, _TEM, *range(0xD0, 0xD8))  # markers without a length
_MARKER = re.compile(rb"\xff[\x01-\xfe]")
_MARKER_IN_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither stuffing nor a restart

# The application segments that decoding needs: the prefix, and the least length that Pillow and
# libjpeg accept. All others (XMP, previews, comments, maker notes) are skipped.
_NEEDED = {
    0xE0: (b"JFIF\0", 14),
    0xE1: (b"Exif\0\0", 6),
    0xE2: (b"ICC_PROFILE\0", 14),
    0xEE: (b"Adobe", 12),
}


@dataclass(frozen=True)
class Jpeg:
    """The parts of a file that its pixels, orientation and colours need.

    `has_end` is false if the file stops before its end marker. `is_buffered`: libjpeg keeps the
    coefficients of the whole image. `can_shrink`: libjpeg can decode at a fraction of the size.
    """

    pieces: tuple[Piece, ...]
    scans: int
    has_end: bool
    is_buffered: bool
    can_shrink: bool

    def with_other_ending(self) -> tuple[Piece, ...]:
        """The same file with entropy-coded bytes inserted before its end.

        A complete image ignores these bytes. If rows are missing, they become pixels, which differ
        from the pixels of `pieces`.
        """
        return (*self.pieces[:-1], FILLER, END)


@dataclass
class _Head:
    """The segments before the first scan, and the facts read from them."""

    kept: list[tuple[int, int]] = field(default_factory=lambda: [(0, 2)])
    frame: int = 0
    components: int = 0
    profile_bytes: int = 0
    has_exif: bool = False
    scan: int = 0  # offset of the first scan's marker; 0 if there is none


def parse(data: bytes) -> Jpeg:
    """Parse the markers up to the end of the image.

    Raises CorruptImage, TooComplex, UnsupportedImage.
    """
    head = _read_head(data)
    if not head.scan or not head.frame:
        raise CorruptImage("the JPEG file is truncated or broken: it has no image data")
    is_sequential = head.frame in _SEQUENTIAL
    is_single = is_sequential and data[head.scan + 4] == head.components
    if is_single and data.endswith(END):
        scans, end, has_end = 1, len(data), True  # libjpeg stops at the first end marker
    else:
        scans, end, has_end = _walk_scans(data, head.scan)
    view = memoryview(data)
    pieces = [view[start:stop] for start, stop in _joined([*head.kept, (head.scan, end)])]
    if not has_end:
        pieces.append(memoryview(END))
    return Jpeg(
        tuple(pieces), scans, has_end, not is_single, can_shrink=head.frame not in _LOSSLESS
    )


def _read_head(data: bytes) -> _Head:
    head, place = _Head(), 2
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, place)
        if found is None or data[found.start() + 1] == _EOI:
            return head
        start, marker = found.start(), data[found.start() + 1]
        if marker in _ALONE:
            place = found.end()
            continue
        stop = found.end() + max(2, int.from_bytes(data[found.end() : found.end() + 2], "big"))
        if marker == _SOS:
            head.scan = start if stop <= len(data) else 0
            return head
        if _is_needed(data, start, stop, head):
            head.kept.append((start, stop))
        place = stop
    raise TooComplex(f"the JPEG file has more than {MAX_SEGMENTS:,} segments")


def _is_needed(data: bytes, start: int, stop: int, head: _Head) -> bool:
    marker, content = data[start + 1], start + 4
    if marker in _FRAMES:
        _read_frame(data[content:stop], marker, head)
        return True
    if marker not in range(0xE0, 0xF0):
        return marker in _TABLES
    prefix, fewest = _NEEDED.get(marker, (b"", 0))
    if not prefix or not data.startswith(prefix, content) or stop - content < fewest:
        return False
    if marker == 0xE2:
        head.profile_bytes += stop - content - fewest
        return head.profile_bytes <= MAX_PROFILE_BYTES
    if marker == 0xE1:
        is_first = not head.has_exif
        head.has_exif = True
        return is_first
    return True


def _read_frame(content: bytes, marker: int, head: _Head) -> None:
    if len(content) < 6:
        raise CorruptImage("the JPEG file is truncated or broken: its frame header is too short")
    if marker in _HIERARCHICAL:
        raise UnsupportedImage("this JPEG is hierarchical, which is not supported")
    if content[0] != 8:
        raise UnsupportedImage(f"this JPEG has {content[0]} bits a sample; supported: 8")
    if content[5] not in (1, 3, 4):
        raise UnsupportedImage(f"this JPEG has {content[5]} components; supported: 1, 3, 4")
    head.frame = marker
    head.components = content[5]


def _walk_scans(data: bytes, place: int) -> tuple[int, int, bool]:
    """The number of scans, the offset where the image ends, and whether it has an end marker."""
    scans = 0
    for _ in range(MAX_SEGMENTS):
        found = _MARKER_IN_SCAN.search(data, place)
        if found is None:
            return scans, len(data) - data.endswith(b"\xff"), False
        marker, place = data[found.start() + 1], found.end()
        if marker == _EOI:
            return scans, place, True
        scans += marker == _SOS
        if scans > MAX_SCANS:
            raise TooComplex(f"the JPEG file has more than {MAX_SCANS} scans")
        if marker not in _ALONE:
            place += max(2, int.from_bytes(data[place : place + 2], "big"))
    raise TooComplex(f"the JPEG file has more than {MAX_SEGMENTS:,} segments")


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges, with adjacent ones merged."""
    joined = ranges[:1]
    for start, stop in ranges[1:]:
        if start == joined[-1][1]:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined
