"""Small image files of every supported kind, to mutate, and bombs: small files of huge images."""

import struct
import zlib

import numpy as np
import pillow_heif
from PIL import Image

from tests.variants import bmp, raw_png, saved, swapped_profile, with_chunk


def heic(image: Image.Image) -> bytes:
    """The file."""
    pillow_heif.register_heif_opener()
    return saved(image, "HEIF", quality=5)


def colours(mode: str = "RGB", size: tuple[int, int] = (48, 32)) -> Image.Image:
    """Noise over a gradient."""
    values = (
        np.random.default_rng(3).integers(0, 80, (size[1], size[0], 4))
        + np.arange(size[0])[None, :, None] * 3
    )
    return Image.fromarray(values.astype(np.uint8), "RGBA").convert(mode)


def seeds() -> dict[str, bytes]:
    """By name."""
    profile = swapped_profile()
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [colours().rotate(90 * turn) for turn in range(3)]
    animated = {"save_all": True, "append_images": frames[1:], "duration": 40}
    deep = Image.fromarray((np.arange(48 * 32, dtype=np.uint16) * 40).reshape(32, 48))
    return {
        "jpeg": saved(colours(), "JPEG"),
        "jpeg-progressive": saved(colours(), "JPEG", progressive=True),
        "jpeg-gray": saved(colours("L"), "JPEG"),
        "jpeg-cmyk": saved(colours("CMYK"), "JPEG"),
        "jpeg-exif": saved(colours(), "JPEG", exif=exif),
        "jpeg-restart": saved(colours(), "JPEG", restart_marker_blocks=1),
        "jpeg-mpo": saved(frames[0], "MPO", save_all=True, append_images=frames[1:2]),
        "png-rgb": saved(colours(), "PNG"),
        "png-rgba": saved(colours("RGBA"), "PNG"),
        "png-palette": saved(colours("P"), "PNG", transparency=3),
        "png-bits": saved(colours("1"), "PNG"),
        "png-gray-alpha": saved(colours("LA"), "PNG"),
        "png-16": saved(deep, "PNG"),
        "png-animated": saved(frames[0], "PNG", **animated),
        "webp": saved(colours(), "WEBP"),
        "webp-lossless": saved(colours("RGBA"), "WEBP", lossless=True, exif=exif),
        "webp-animated": saved(frames[0], "WEBP", **animated),
        "gif": saved(colours("P"), "GIF", transparency=1),
        "gif-animated": saved(frames[0], "GIF", **animated),
        "bmp": saved(colours(), "BMP"),
        "bmp-palette": saved(colours("P"), "BMP"),
        "bmp-bits": bmp(
            bytes(range(256)) * 4, (16, 32), 16, 3, struct.pack("<3I", 0xF00, 0xF0, 0xF)
        ),
        "bmp-runs": bmp(
            (b"\x09\1" + b"\0\0") * 7 + b"\0\2\1\0\3\2\0\1", (9, 8), 8, 1, bytes(range(256)) * 4
        ),
        "bmp-runs-of-4": bmp(
            (b"\x09\x12" + b"\0\0") * 7 + b"\0\5\x12\x34\x50\0\0\1", (9, 8), 4, 2, bytes(64)
        ),
        "bmp-two-bits": bmp(bytes(range(128)), (16, 32), 2, 0, bytes(range(16))),
        "bmp-os2": bmp(bytes(range(256)) * 6, (16, 32), 24, header_bytes=12),
        "png-gray-two-bits": raw_png(bytes(range(128)), (16, 32), 2, 0, (b"tRNS", b"\0\1")),
        "png-16-key": raw_png(bytes(96) * 32, (16, 32), 16, 2, (b"tRNS", bytes(6))),
        "png-many-chunks": with_chunk(
            with_chunk(saved(colours(), "PNG"), b"iTXt", bytes(999), is_wrong=True), b"cHRM", b""
        ),
        "jpeg-profile": saved(colours(), "JPEG", icc_profile=profile),
        "png-profile": saved(colours(), "PNG", icc_profile=profile),
        "webp-profile": saved(colours(), "WEBP", icc_profile=profile),
        "heic": heic(colours()),
        "heic-alpha": heic(colours("RGBA")),
        "avif": saved(colours(), "AVIF"),
        "avif-alpha": saved(colours("RGBA"), "AVIF"),
        "avif-animated": saved(frames[0], "AVIF", **animated),
    }


def png_bomb(width: int, height: int, colour_type: int, bits: int = 8) -> bytes:
    """A PNG of zeros: kilobytes of file, as many pixels as are wanted."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    packer, row = zlib.compressobj(9), bytes(1 + (width * samples * bits + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    palette = [(b"PLTE", bytes(range(256)) * 3), (b"tRNS", bytes(256))] if colour_type == 3 else []
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), *palette, (b"IDAT", data), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body
