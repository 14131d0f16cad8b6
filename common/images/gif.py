"""Gives a GIF file the screen size that it lacks. Pure functions.

Reference: GIF89a specification, sections 18 to 23.
"""

from common.errors import CorruptImage, TooComplex
from common.images.reader import Piece

MAX_BLOCKS = 100_000  # before the first image; real files have far fewer
_EXTENSION, _IMAGE = 0x21, 0x2C
_SCREEN = 6  # offset of the logical screen's size
_HAS_COLOURS = 0x80


def parse(data: bytes) -> list[Piece]:
    """The pieces of the file, with a complete screen size.

    A missing width or height is taken from the first image, as in browsers.
    Raises CorruptImage, TooComplex.
    """
    width, height = _uint16(data, _SCREEN), _uint16(data, _SCREEN + 2)
    if width and height:
        return [data]
    place = _first_image(data)
    right = _uint16(data, place) + _uint16(data, place + 4)
    below = _uint16(data, place + 2) + _uint16(data, place + 6)
    sides = (width or right, height or below)
    screen = b"".join(side.to_bytes(4, "little")[:2] for side in sides)
    return [data[:_SCREEN] + screen, memoryview(data)[_SCREEN + 4 :]]


def _first_image(data: bytes) -> int:
    """The offset of the first image's position and size."""
    place = 13 + _colour_bytes(data[10:11])
    for _ in range(MAX_BLOCKS):
        kind = data[place : place + 1]
        if kind == bytes([_IMAGE]):
            return place + 1
        if kind != bytes([_EXTENSION]):
            raise CorruptImage("the GIF file is truncated or broken: it has no image")
        place = _after_blocks(data, place + 2)
    raise TooComplex(f"the GIF file has more than {MAX_BLOCKS:,} blocks before its image")


def _after_blocks(data: bytes, place: int) -> int:
    for _ in range(MAX_BLOCKS):
        size = data[place] if place < len(data) else 0
        place += 1 + size
        if size == 0:
            return place
    raise TooComplex(f"the GIF file has more than {MAX_BLOCKS:,} blocks before its image")


def _colour_bytes(flags: bytes) -> int:
    value = flags[0] if flags else 0
    return 3 << (value & 7) + 1 if value & _HAS_COLOURS else 0


def _uint16(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + 2], "little")
