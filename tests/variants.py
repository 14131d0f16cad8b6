"""Makes image files with one unusual property out of small ones."""

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageCms

Chunk = tuple[bytes, bytes]
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    """The image as a file."""
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def scene(size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A smooth image without symmetry."""
    noise = np.random.default_rng(5).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)


def png(*chunks: Chunk, wrong: Sequence[bytes] = ()) -> bytes:
    """A PNG file of these chunks; those of a kind in `wrong` get a wrong checksum."""
    parts = [SIGNATURE]
    for kind, content in chunks:
        checksum = zlib.crc32(kind + content) ^ (kind in wrong)
        parts.append(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum))
    return b"".join(parts)


def png_chunks(data: bytes) -> list[Chunk]:
    """The chunks of a PNG file."""
    chunks, place = [], len(SIGNATURE)
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        chunks.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return chunks


def with_chunk(data: bytes, kind: bytes, content: bytes, *, is_wrong: bool = False) -> bytes:
    """The PNG file with another chunk behind its header."""
    header, *rest = png_chunks(data)
    return png(header, (kind, content), *rest, wrong=[kind] if is_wrong else [])


def raw_png(
    samples: bytes, size: tuple[int, int], depth: int, colour_type: int, *more: Chunk
) -> bytes:
    """A PNG file of unfiltered rows."""
    width, height = size
    row = len(samples) // height
    rows = b"".join(b"\0" + samples[row * y : row * (y + 1)] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return png((b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def bmp(
    pixels: bytes,
    size: tuple[int, int],
    bits: int,
    compression: int = 0,
    more: bytes = b"",
    header_bytes: int = 40,
) -> bytes:
    """A BMP file; `more` is what follows the first 40 bytes of the header: masks or a palette."""
    width, height = size
    if header_bytes == 12:
        header = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        header = struct.pack(
            "<IiiHHIIiiII", header_bytes, width, height, 1, bits, compression, 0, 0, 0, 0, 0
        )
    start = 14 + len(header) + len(more)
    return struct.pack("<2sIII", b"BM", start + len(pixels), 0, start) + header + more + pixels


def swapped_profile() -> bytes:
    """An RGB profile that says of sRGB's red that it is green, and the other way round."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ", 128), profile.index(b"gXYZ", 128)
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)
