"""A Pillow image class for BMP files of every kind that browsers show.

Pillow's own reader continues a run past the end of a row in the next row. It supports only four bit
layouts, and no 2-bit palette. This module reads all headers by one set of rules. Pillow's raw
decoder, or numpy, unpacks the pixels.
References: BITMAPV5HEADER of the Windows documentation; OS/2 Presentation Manager's bitmap file
format; bmpsuite 2.8 for what viewers do with files that the documents leave open.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImagePalette

from common.errors import CorruptImage, UnsupportedImage

_FILE_HEADER_BYTES = 14
_CORE_BYTES = 12  # of the oldest header, which has 16-bit sizes
_ALPHA_HEADER_BYTES = 56  # of the shortest header with a mask for alpha
_HEAD_BYTES = 14 + 124 + 16 + 4 * 256  # the headers, masks and palette
_WINDOWS_BYTES = (_CORE_BYTES, 40, 52, 56, 108, 124)
_OS2_BYTES = (*range(16, 40), *range(41, 52), *range(57, 65))  # version 2, complete or shortened
_RGB, _RLE8, _RLE4, _BITFIELDS, _ALPHA_BITFIELDS = 0, 1, 2, 3, 6
_OS2_HUFFMAN, _OS2_RLE24 = 3, 4
_COMPRESSIONS = {4: "JPEG data", 5: "PNG data", 11: "CMYK", 12: "CMYK", 13: "CMYK"}
_RUN_CODED = (_RLE8, _RLE4, _OS2_RLE24)
_PLAIN_BITS = {_RGB: (1, 2, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,)}
_WINDOWS_BITS = _PLAIN_BITS | {_BITFIELDS: (16, 32), _ALPHA_BITFIELDS: (16, 32)}
_OS2_BITS = _PLAIN_BITS | {_OS2_RLE24: (24,)}
_STRIP_PIXELS = 2**18  # pixels that numpy unpacks at a time
_RAW_MODES = {1: "P;1", 2: "P;2", 4: "P;4", 8: "P", 24: "BGR"}
_DEFAULT_MASKS = {16: (0x7C00, 0x3E0, 0x1F, 0), 32: (0xFF0000, 0xFF00, 0xFF, 0)}
# Bit layouts that Pillow's raw decoder unpacks: bits per pixel; masks of red, green, blue, alpha.
_RAW_MASKS = {
    (16, (0x7C00, 0x3E0, 0x1F, 0)): "BGR;15",
    (16, (0xF800, 0x7E0, 0x1F, 0)): "BGR;16",
    (32, (0xFF0000, 0xFF00, 0xFF, 0)): "BGRX",
    (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)): "BGRA",
}
_END_OF_ROW, _END_OF_IMAGE, _DELTA, _RUN, _LITERAL = 0, 1, 2, 3, 4
_NOWHERE = (0, 0)
_MOST_BEYOND = {_DELTA: 0, _RUN: 255, _LITERAL: 3}  # allowed pixels past the end of a row
_CHECK_EVERY = 4096  # codes between two checks of the time limit
_FROM_HEX = bytes.maketrans(b"0123456789abcdef", bytes(range(16)))

Masks = tuple[int, int, int, int]
if TYPE_CHECKING:
    from PIL._imaging import PixelAccess


@dataclass(frozen=True)
class _Header:
    width: int
    height: int
    is_top_down: bool
    bits: int
    compression: int
    masks: Masks
    colours: list[bytes]  # the palette: blue, green, red
    pixels: int  # their offset in the file

    @property
    def stride(self) -> int:
        """Bytes of a row, rounded up to a multiple of 4."""
        return (self.width * self.bits + 31) // 32 * 4

    @property
    def sample_bytes(self) -> int:
        """Bytes of a pixel in a run."""
        return 3 if self.compression == _OS2_RLE24 else 1


def _read_header(data: bytes) -> _Header:
    size = _uint32(data, _FILE_HEADER_BYTES)
    end = _FILE_HEADER_BYTES + size
    if size not in (*_OS2_BYTES, *_WINDOWS_BYTES):
        raise UnsupportedImage(f"this BMP has a header of {size} bytes, which is not supported")
    if len(data) < end:
        raise CorruptImage("the BMP file is truncated: its header is incomplete")
    compression = colours = 0
    if size == _CORE_BYTES:
        width, height, _, bits = struct.unpack_from("<4H", data, 18)
    else:
        fields = data[18:end].ljust(32, b"\0")
        width, height, _, bits, compression, colours = struct.unpack("<iiHHI12xI", fields[:32])
    _check_compression(compression, bits, is_os2=size in _OS2_BYTES)
    if width < 1 or height == 0:
        raise CorruptImage("the BMP file is broken: it has no pixels")
    masks, end = _read_masks(data, size, bits, compression)
    entry_bytes = 3 if size == _CORE_BYTES else 4
    pixels = _uint32(data, 10)
    if 0 < pixels < end:
        raise CorruptImage("the BMP file is broken: its pixels start inside its header")
    palette = _read_palette(
        data[end : pixels if pixels > end else None], bits, colours, entry_bytes
    )
    start = pixels or end + entry_bytes * len(palette)
    return _Header(width, abs(height), height < 0, bits, compression, masks, palette, start)


def _uint32(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + 4], "little")


def _check_compression(compression: int, bits: int, *, is_os2: bool) -> None:
    """Raise UnsupportedImage unless the compression and the bits are supported.

    OS/2 and Windows give the compressions 3 and 4 different meanings.
    """
    if is_os2 and compression == _OS2_HUFFMAN:
        raise UnsupportedImage("this BMP has Huffman (fax) compression, which is not supported")
    allowed = _OS2_BITS if is_os2 else _WINDOWS_BITS
    if compression not in allowed:
        kind = _COMPRESSIONS.get(compression, f"compression {compression}")
        raise UnsupportedImage(f"this BMP has {kind}, which is not supported")
    if bits not in allowed[compression]:
        listed = ", ".join(map(str, allowed[compression]))
        raise UnsupportedImage(f"this BMP has {bits} bits a pixel; supported: {listed}")


def _read_masks(data: bytes, size: int, bits: int, compression: int) -> tuple[Masks, int]:
    """The bit masks of red, green, blue and alpha, and the offset where the header ends."""
    end = _FILE_HEADER_BYTES + size
    if compression not in (_BITFIELDS, _ALPHA_BITFIELDS):
        return _DEFAULT_MASKS.get(bits, (0, 0, 0, 0)), end
    count = 4 if compression == _ALPHA_BITFIELDS or size >= _ALPHA_HEADER_BYTES else 3
    start = _FILE_HEADER_BYTES + 40
    masks = [_uint32(data, start + 4 * number) for number in range(count)]
    for mask in masks:
        ones = mask // (mask & -mask) if mask else 0
        if mask >> bits or ones & (ones + 1):
            raise UnsupportedImage(f"this BMP has the bit mask {mask:#x}, which is not supported")
    red, green, blue, alpha = (*masks, 0)[:4]
    return (red, green, blue, alpha), max(end, start + 4 * count)


def _read_palette(data: bytes, bits: int, colours: int, entry_bytes: int) -> list[bytes]:
    if bits > 8:
        return []
    count = min(colours or 1 << bits, 256, len(data) // entry_bytes)
    return [data[entry_bytes * number :][:3] for number in range(count)]


class BmpFile(ImageFile.ImageFile):
    """A BMP file. Opening and loading raise CorruptImage and UnsupportedImage.

    `is_run_coded`: the file is run-length coded, and decoding copies it. After `load`, `drawn` is a
    mask of the pixels that the runs give a colour; None if that is all of them.
    """

    format = "BMP"
    format_description = "Windows Bitmap"
    drawn: Image.Image | None = None

    def _open(self) -> None:
        file: IO[bytes] = self.fp  # type: ignore[assignment]
        self._header = header = _read_header(file.read(_HEAD_BYTES))
        self._size = header.width, header.height
        self._mode, raw_mode = _modes(header)
        if self._mode == "P":
            self.palette = ImagePalette.raw("BGR", b"".join(header.colours).ljust(768, b"\0"))
        self.is_run_coded = header.compression in _RUN_CODED
        self._has_own_layout = self.is_run_coded or raw_mode is None
        orientation = 1 if header.is_top_down else -1
        arguments = (raw_mode, header.stride, orientation)
        box = (0, 0, *self._size)
        self.tile = [ImageFile._Tile("raw", box, header.pixels, arguments)]

    def load(self) -> "PixelAccess | None":
        is_first = bool(self.tile)
        if is_first and self._has_own_layout:
            file: IO[bytes] = self.fp  # type: ignore[assignment]
            file.seek(self._header.pixels)
            image = self._draw_runs(file) if self.is_run_coded else _unpack(file, self._header)
            self.im = image.im
            self.tile = []
        access = super().load()
        if is_first and self.mode == "RGBA" and self.getchannel("A").getextrema() == (0, 0):
            self.putalpha(255)  # the alpha channel is unused
        return access

    def _draw_runs(self, file: IO[bytes]) -> Image.Image:
        pixels, drawn = _read_runs(file, self._header)
        orientation = 1 if self._header.is_top_down else -1
        if 0 in drawn:
            self.drawn = Image.frombytes("L", self.size, bytes(drawn), "raw", "L", 0, orientation)
        raw_mode = "BGR" if self.mode == "RGB" else self.mode
        samples = bytes(pixels)
        return Image.frombytes(self.mode, self.size, samples, "raw", raw_mode, 0, orientation)


def _modes(header: _Header) -> tuple[str, str | None]:
    """The image's mode, and the raw mode for Pillow's decoder; None if it has none that fits.

    A palette of greys in order counts as grey samples, as in Pillow's own reader.
    """
    colours = header.colours
    if header.bits == 1 and colours == [b"\0\0\0", b"\xff\xff\xff"]:
        return "1", "1"
    if header.bits == 8 and colours == [bytes([level] * 3) for level in range(len(colours))]:
        return "L", "L"
    if header.bits <= 8:
        return "P", _RAW_MODES[header.bits]
    raw_mode = _RAW_MODES.get(header.bits) or _RAW_MASKS.get((header.bits, header.masks))
    return "RGBA" if header.masks[3] else "RGB", raw_mode


def _unpack(file: IO[bytes], header: _Header) -> Image.Image:
    """Unpack pixels of any bit layout. Raises CorruptImage if the file is truncated."""
    image = Image.new("RGBA" if header.masks[3] else "RGB", (header.width, header.height))
    masks = header.masks if header.masks[3] else header.masks[:3]
    rows = max(1, _STRIP_PIXELS // header.width)
    for first in range(0, header.height, rows):
        count = min(rows, header.height - first)
        strip = file.read(count * header.stride)
        if len(strip) < count * header.stride:
            raise CorruptImage("the BMP file is truncated")
        words = np.frombuffer(strip, f"<u{header.bits // 8}").reshape(count, -1)[:, : header.width]
        samples = np.stack([_scaled(words, mask) for mask in masks], axis=2)
        if header.is_top_down:
            image.paste(Image.fromarray(samples), (0, first))
        else:
            image.paste(Image.fromarray(samples[::-1]), (0, header.height - first - count))
    return image


def _scaled(words: NDArray[np.unsignedinteger], mask: int) -> NDArray[np.uint8]:
    """The samples under `mask`, scaled so that all bits set give 255."""
    if not mask:
        return np.zeros(words.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    return np.round(((words & mask) >> shift) * (255 / (mask >> shift))).astype(np.uint8)


def _read_runs(file: IO[bytes], header: _Header) -> tuple[bytearray, bytearray]:
    """Decode the runs to samples in the file's order, and a mask with 255 for each drawn pixel.

    Runs are cut at the end of their row, as in browsers. Literal samples may pass it by no more
    than their padding. Raises CorruptImage if anything else leaves the image.
    """
    codes, width, wide = file.read(), header.width, header.sample_bytes
    pixels, drawn = bytearray(wide * width * header.height), bytearray(width * header.height)
    x = y = 0
    for kind, run, (right, up) in _codes(codes, header.compression, file):
        if kind == _END_OF_ROW:
            x = 0
            y += 1
            continue
        beyond = x + right + len(run) // wide - width
        if beyond > _MOST_BEYOND[kind] or y + up > header.height - bool(run):
            raise CorruptImage("the BMP file is broken: its run-length data leaves the image")
        count = len(run) // wide - max(0, beyond)
        start = y * width + x
        pixels[wide * start : wide * (start + count)] = run[: wide * count]
        drawn[start : start + count] = b"\xff" * count
        x += right + count
        y += up
    return pixels, drawn


def _codes(
    codes: bytes, compression: int, file: IO[bytes]
) -> Iterator[tuple[int, bytes, tuple[int, int]]]:
    """Each code as its kind, the samples that it draws, and its move (right, up)."""
    place = 0
    number = 0
    while True:
        number += 1
        if number % _CHECK_EVERY == 0:
            file.read(0)  # the reader checks its time limits
        if place + 2 > len(codes):
            raise CorruptImage("the BMP file is truncated: its run-length data has no end")
        count = codes[place]
        value = codes[place + 1]
        place += 2
        if count:
            size = 3 if compression == _OS2_RLE24 else 1
            yield _RUN, _repeated(codes[place - 1 : place - 1 + size], count, compression), _NOWHERE
            place += size - 1
        elif value == _END_OF_IMAGE:
            return
        elif value == _END_OF_ROW:
            yield _END_OF_ROW, b"", _NOWHERE
        elif value == _DELTA:
            right, up = codes[place : place + 2]
            yield _DELTA, b"", (right, up)
            place += 2
        else:
            run, size = _literal(codes, place, value, compression)
            yield _LITERAL, run, _NOWHERE
            place += size


def _repeated(sample: bytes, count: int, compression: int) -> bytes:
    if compression == _RLE4:
        return (_nibbles(sample) * ((count + 1) // 2))[:count]
    return sample * count


def _literal(codes: bytes, place: int, count: int, compression: int) -> tuple[bytes, int]:
    """`count` literal samples, and the number of bytes they take with padding to an even size."""
    size = {_RLE4: (count + 1) // 2, _OS2_RLE24: 3 * count}.get(compression, count)
    content = codes[place : place + size]
    return _nibbles(content)[:count] if compression == _RLE4 else content, size + size % 2


def _nibbles(content: bytes) -> bytes:
    return content.hex().encode().translate(_FROM_HEX)
