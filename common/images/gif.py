"""A GIF file whose screen has a size. Pure functions. Reference: GIF89a specification, sections 18 to 23."""

from common.errors import CorruptImage, TooComplex
from common.images.reader import Piece

MAX_BLOCKS = 100_000  # before the first image; more cost time alone
_EXTENSION, _IMAGE = 0x21, 0x2C
_SCREEN = 6  # where the logical screen's size starts
_HAS_COLOURS = 0x80


def parse(data: bytes) -> list[Piece]:
    """The file; a screen without width or height takes them from the first image, as in browsers."""
    width, height = _uint16(data, _SCREEN), _uint16(data, _SCREEN + 2)
    if width and height:
        return [data]
    place = _first_image(data)
    right = _uint16(data, place) + _uint16(data, place + 4)
    below = _uint16(data, place + 2) + _uint16(data, place + 6)
    screen = (width or right).to_bytes(4, "little")[:2] + (height or below).to_bytes(4, "little")[
        :2
    ]
    return [data[:_SCREEN] + screen, memoryview(data)[_SCREEN + 4 :]]


def _first_image(data: bytes) -> int:
    """Where the position and size of the first image are."""
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
