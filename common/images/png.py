"""Reduces a PNG file to the chunks that its pixels need. Pure functions.

Text, times, private chunks and broken ancillary chunks are left out, as browsers ignore them. Of an
animation, the first frame remains, as a plain PNG.
References: PNG specification (third edition), sections 5, 11 and 14; libpng's handling of errors.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from common.errors import CorruptImage, TooComplex, UnsupportedImage
from common.images.reader import Piece

MAX_CHUNKS = 100_000  # a file of a million empty chunks would take seconds
MAX_PROFILE_BYTES = 2 * 2**20  # of a colour profile, inflated
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"
_GREY, _RGB, _PALETTE = 0, 2, 3  # colour types that a tRNS chunk may belong to
_IS_ANCILLARY = 0x20  # in a kind's first letter: lower case

Size = tuple[int, int]


@dataclass(frozen=True)
class Frame:
    """The position of a decoded frame on its canvas, which is transparent elsewhere."""

    canvas: Size
    corner: tuple[int, int]


@dataclass(frozen=True)
class Png:
    """The parts of a file to decode.

    `profile` is the ICC profile, None if it is missing or broken. `frame` is set if the image
    covers only a part of its canvas. `key` is the transparent colour of 16-bit RGB, as Pillow does
    not keep all bits of such samples.
    """

    pieces: tuple[Piece, ...]
    profile: bytes | None = None
    frame: Frame | None = None
    key: tuple[int, int, int] | None = None


class _Chunk(NamedTuple):  # there are thousands in a large file
    kind: bytes
    start: int  # of the content
    stop: int
    is_whole: bool  # neither cut off nor with a wrong checksum


@dataclass
class _Parts:
    """The parts found so far; each piece of `image` is a chunk with its length and checksum."""

    header: bytes = b""
    palette: Piece = b""
    transparency: bytes = b""
    profile: bytes = b""
    exif: Piece = b""
    image: list[Piece] = field(default_factory=list)
    is_animated: bool = False
    control: bytes = b""  # fcTL of the first frame
    is_image_a_frame: bool = False
    frame_data: list[Piece] = field(default_factory=list)
    frames: int = 0

    @property
    def colour_type(self) -> int:
        return self.header[9]

    @property
    def depth(self) -> int:
        return self.header[8]


def parse(data: bytes, *, is_first_frame_wanted: bool) -> Png:
    """Read the chunks. Raises CorruptImage, TooComplex, UnsupportedImage.

    Without `is_first_frame_wanted`, an animation gives its default image, as in decoders that do
    not support animations.
    """
    view, parts = memoryview(data), _Parts()
    for chunk in _chunks(view):
        if chunk.kind == b"IEND" or (parts.image and not chunk.kind.isalpha()):
            break  # chunks after the pixels may be broken
        _read(view, chunk, parts)
    if not parts.header:
        raise CorruptImage("the PNG file is truncated or broken: it has no header")
    if parts.colour_type == _PALETTE and not parts.palette:
        raise CorruptImage("the PNG file is broken: it has no palette")
    header, image, frame = parts.header, parts.image, None
    if is_first_frame_wanted and _starts_with_another_frame(parts):
        header, frame = _frame_header(parts)
        image = parts.frame_data
    key = _rgb_key(parts)
    transparency = b"" if key else parts.transparency
    pieces = [
        _SIGNATURE,
        _chunk(b"IHDR", header),
        parts.palette,
        _chunk(b"tRNS", transparency) if transparency else b"",
        parts.exif,
        *image,
        _END,
    ]
    return Png(tuple(pieces), _inflated(parts.profile), frame, key)


def _chunks(view: memoryview) -> Iterator[_Chunk]:
    place = len(_SIGNATURE)
    for _ in range(MAX_CHUNKS):
        if place + 8 > len(view):
            return
        length = int.from_bytes(view[place : place + 4], "big")
        kind = bytes(view[place + 4 : place + 8])
        start, stop = place + 8, place + 8 + length
        yield _Chunk(kind, start, stop, _is_whole(view, start, stop))
        place = stop + 4
    raise TooComplex(f"the PNG file has more than {MAX_CHUNKS:,} chunks")


def _is_whole(view: memoryview, start: int, stop: int) -> bool:
    if stop + 4 > len(view):
        return False
    return int.from_bytes(view[stop : stop + 4], "big") == zlib.crc32(view[start - 4 : stop])


def _read(view: memoryview, chunk: _Chunk, parts: _Parts) -> None:
    read = _READERS.get(chunk.kind)
    if not chunk.kind.isalpha():
        raise CorruptImage("the PNG file is broken: a chunk has an invalid name")
    if chunk.kind[0] & _IS_ANCILLARY:
        if read and chunk.is_whole:
            read(view, chunk, parts)
    elif read:
        read(view, chunk, parts)
    elif not parts.image:
        kind = chunk.kind.decode()
        raise UnsupportedImage(f"this PNG needs its {kind} chunk, which is not supported")


def _read_header(view: memoryview, chunk: _Chunk, parts: _Parts) -> None:
    content = bytes(view[chunk.start : chunk.stop])
    if not chunk.is_whole or len(content) != 13 or parts.header:
        raise CorruptImage("the PNG file is broken: its header is invalid")
    parts.header = content


def _read_palette(view: memoryview, chunk: _Chunk, parts: _Parts) -> None:
    if parts.palette:
        raise CorruptImage("the PNG file is broken: it has two palettes")
    if parts.image:
        return
    length = chunk.stop - chunk.start
    is_valid = chunk.is_whole and length % 3 == 0 and 0 < length <= 768
    if not is_valid and parts.header and parts.colour_type == _PALETTE:
        raise CorruptImage("the PNG file is broken: its palette is invalid")
    parts.palette = view[chunk.start - 8 : chunk.stop + 4]


def _read_image(view: memoryview, chunk: _Chunk, parts: _Parts) -> None:
    if not chunk.is_whole and chunk.stop + 4 <= len(view):
        raise CorruptImage("the PNG file is broken: its pixels have a wrong checksum")
    parts.image.append(view[chunk.start - 8 : chunk.stop + 4])
    parts.is_image_a_frame = parts.is_image_a_frame or bool(parts.control)


def _read_transparency(view: memoryview, chunk: _Chunk, parts: _Parts) -> None:
    if parts.transparency or parts.image or not parts.header:
        return
    content = bytes(view[chunk.start : chunk.stop])
    if parts.colour_type == _PALETTE:
        is_valid = 0 < len(content) <= (len(parts.palette) - 12) // 3
        parts.transparency = content if is_valid else b""
    elif len(content) == {_GREY: 2, _RGB: 6}.get(parts.colour_type):
        parts.transparency = _scaled_key(content, parts)


def _scaled_key(content: bytes, parts: _Parts) -> bytes:
    """The transparent colour, scaled to 8 bits as Pillow scales samples; 16 bits stay."""
    if parts.depth == 16:
        return content
    highest = (1 << parts.depth) - 1
    scale = 255 // highest if parts.depth > 1 else 1  # Pillow does not scale 1-bit samples
    samples = struct.unpack(f">{len(content) // 2}H", content)
    return struct.pack(f">{len(samples)}H", *((sample & highest) * scale for sample in samples))


def _read_profile(view: memoryview, chunk: _Chunk, parts: _Parts) -> None:
    if not parts.profile and not parts.image:
        parts.profile = bytes(view[chunk.start : min(chunk.stop, chunk.start + MAX_PROFILE_BYTES)])


def _read_exif(view: memoryview, chunk: _Chunk, parts: _Parts) -> None:
    parts.exif = parts.exif or view[chunk.start - 8 : chunk.stop + 4]


def _read_animation(view: memoryview, chunk: _Chunk, parts: _Parts) -> None:
    has_frames = int.from_bytes(view[chunk.start : chunk.start + 4], "big") > 0
    parts.is_animated = not parts.image and chunk.stop - chunk.start == 8 and has_frames


def _read_frame_control(view: memoryview, chunk: _Chunk, parts: _Parts) -> None:
    parts.frames += 1
    if parts.frames == 1:
        parts.control = bytes(view[chunk.start : chunk.stop])


def _read_frame_data(view: memoryview, chunk: _Chunk, parts: _Parts) -> None:
    """Keep frame data as IDAT chunks, without the sequence number."""
    if parts.frames == 1 and parts.is_animated and chunk.stop - chunk.start > 4:
        content = view[chunk.start + 4 : chunk.stop]
        parts.frame_data += _chunk_around(b"IDAT", content)


_READERS = {
    b"IHDR": _read_header,
    b"PLTE": _read_palette,
    b"IDAT": _read_image,
    b"tRNS": _read_transparency,
    b"iCCP": _read_profile,
    b"eXIf": _read_exif,
    b"acTL": _read_animation,
    b"fcTL": _read_frame_control,
    b"fdAT": _read_frame_data,
}


def _starts_with_another_frame(parts: _Parts) -> bool:
    """Whether the first frame is valid and is not the default image."""
    if not parts.is_animated or parts.is_image_a_frame or not parts.frame_data:
        return False
    if len(parts.control) != 26:
        return False
    width, height, left, top = struct.unpack(">4I", parts.control[4:20])
    canvas_width, canvas_height = struct.unpack(">2I", parts.header[:8])
    return bool(width and height and left + width <= canvas_width and top + height <= canvas_height)


def _frame_header(parts: _Parts) -> tuple[bytes, Frame | None]:
    width, height, left, top = struct.unpack(">4I", parts.control[4:20])
    canvas: Size = struct.unpack(">2I", parts.header[:8])
    header = struct.pack(">2I", width, height) + parts.header[8:]
    return header, None if canvas == (width, height) else Frame(canvas, (left, top))


def _rgb_key(parts: _Parts) -> tuple[int, int, int] | None:
    if parts.colour_type != _RGB or parts.depth != 16 or not parts.transparency:
        return None
    red, green, blue = struct.unpack(">3H", parts.transparency)
    return red, green, blue


def _chunk(kind: bytes, content: bytes) -> bytes:
    return b"".join(_chunk_around(kind, content))


def _chunk_around(kind: bytes, content: Piece) -> Sequence[Piece]:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind, content, struct.pack(">I", checksum)


def _inflated(profile: bytes) -> bytes | None:
    """The ICC profile inside an iCCP chunk; None if it is broken or too large.

    The chunk has a name, a zero byte, the method 0, and a zlib stream.
    """
    _, separator, rest = profile.partition(b"\0")
    if not separator or rest[:1] != b"\0":
        return None
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(rest[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return inflated if stream.eof else None
