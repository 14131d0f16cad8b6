"""Decode bytes that strangers made, within bounds of time, pixels and memory.

The formats are on an allow-list and chosen by the first bytes; Pillow is told that one format, so no other decoder ever
sees the file, and none starts a program. Animations give their first frame.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import IO, Any, cast

from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from common.context import get_request_context
from common.errors import CorruptImage, DecodeError, ImageTimeout, TooComplex, TooManyPixels
from common.images import canvas, heif
from common.images.avif import coded_pixels
from common.images.bmp import BmpFile
from common.images.colour import is_grey
from common.images.formats import refusal, sniff
from common.images.gif import parse as parse_gif
from common.images.jpeg import Jpeg
from common.images.jpeg import parse as parse_jpeg
from common.images.memory_budget import DECODE_BYTES, MemoryBudget
from common.images.png import Frame, Png
from common.images.png import parse as parse_png
from common.images.reader import DeadlineReader, Piece
from common.memory import return_freed_memory
from common.models.preprocess import Picture, preprocess
from common.models.spec import Pixels, Preprocessing

MAX_JPEG_PIXELS = 100_000_000  # cheap: a big one is decoded at a fraction of its size
MAX_SIDE = 30_000
MAX_SCAN_PIXELS = 1_500_000_000  # scans × pixels
DRAFT_OVERSAMPLING = 2  # a JPEG is shrunk to no less than this times the target: at most 2 of 255 levels off
EXIF_ORIENTATION = 0x0112

# Bytes a pixel at the peak of decoding and preprocessing, measured: Pillow keeps RGB in 4, what is converted is there
# twice, and WebP and AVIF hold frames of their own beside Pillow's.
CODEC_BYTES = {"WEBP": 17, "AVIF": 16, "HEIF": heif.BYTES_A_PIXEL}
LOSSLESS_WEBP_BYTES = 26
MODE_BYTES = {"1": 6, "L": 1, "P": 6, "RGB": 4, "I;16": 10, "I": 16}
WIDEST_MODE_BYTES = 9  # with transparency, which is premultiplied for resizing
CANVAS_BYTES = 16  # of a frame on a larger canvas: the frame, its RGBA, the canvas
KEY_BYTES = 24  # of 16-bit RGB with a transparent colour: two halves, their comparison, RGBA
RUN_CODED_BYTES = 16  # of a BMP: samples and what is drawn of them, twice, and the image
UNFINISHED_JPEG_BYTES = 16  # decoded twice, to see whether rows are missing
COEFFICIENT_BYTES = 2  # a sample: libjpeg keeps the whole picture's where there is more than one scan

_DECODERS: dict[str, Callable[[IO[bytes]], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
HEAVY_BYTES = 32 * 2**20  # beyond, what a decode leaves is given back to the system

_memory = MemoryBudget(DECODE_BYTES)


@dataclass(frozen=True)
class DecodeLimits:
    """`max_pixels` is for formats other than JPEG; `seconds` bounds what is read of the file bit by bit."""

    max_pixels: int = 64_000_000
    seconds: float = 5.0


@dataclass(frozen=True)
class _File:
    """What of a file is decoded. `size`: the bytes of all of it."""

    format: str
    pieces: Sequence[Piece]
    size: int
    jpeg: Jpeg | None = None
    png: Png | None = None


Reader = Callable[[Sequence[Piece]], DeadlineReader]


def prepare(data: bytes, preprocessing: Preprocessing, limits: DecodeLimits, deadline: float) -> Pixels:
    """The image tower's pixels, (size, size, 3) uint8. `deadline` is a monotonic instant. Raises DecodeError."""
    image_format = sniff(data)
    if image_format is None or (image_format == "HEIF" and not heif.is_installed()):
        raise refusal(data)
    _bound_pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is checked here, and of harmless metadata
            file = _parse(data, image_format, preprocessing)
            reader = partial(DeadlineReader, deadline=min(deadline, time.monotonic() + limits.seconds))
            with _open(file.format, reader(file.pieces)) as image:
                _check_size(image, file, limits)
                return _decode(image, file, data, reader, preprocessing, deadline)
    except (DecodeError, ImageTimeout):
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise TooManyPixels("the image needs too much memory", reason=type(error).__name__) from error
    except Exception as error:  # Pillow's texts hold heap addresses: they stay out
        raise CorruptImage(f"the {image_format} file is truncated or broken", reason=type(error).__name__) from error


def _parse(data: bytes, image_format: str, preprocessing: Preprocessing) -> _File:
    if image_format == "JPEG":
        jpeg = parse_jpeg(data)
        return _File(image_format, jpeg.pieces, len(data), jpeg=jpeg)
    if image_format == "PNG":
        png = parse_png(data, is_first_frame_wanted=not preprocessing.reference)
        return _File(image_format, png.pieces, len(data), png=png)
    return _File(image_format, parse_gif(data) if image_format == "GIF" else [data], len(data))


def _open(image_format: str, reader: DeadlineReader) -> Image.Image:
    """By the one decoder of the format: no other sees the file."""
    file = cast(IO[bytes], reader)
    if image_format in _DECODERS:
        return _DECODERS[image_format](file)
    if image_format == "HEIF":
        heif.register()
    return Image.open(file, formats=[image_format])


def _decode(
    image: Image.Image,
    file: _File,
    data: bytes,
    reader: Reader,
    preprocessing: Preprocessing,
    deadline: float,
) -> Pixels:
    size, coefficients, shrunk_by = image.size, 0, 1
    if file.jpeg:
        _check_scans(file.jpeg, size)
        coefficients = _coefficient_bytes(image) if file.jpeg.is_buffered else 0
        if file.jpeg.can_shrink and not preprocessing.reference:
            shrunk_by = _draft(image, preprocessing.size)
    memory = coefficients + _pixel_bytes(image, file, data) + _file_bytes(image, data)
    memory += get_request_context().held_bytes
    with _memory.reserve(memory, deadline):
        loaded = _load(image, file, reader, preprocessing)
        profile = file.png.profile if file.png else image.info.get("icc_profile")
        size = loaded.size if shrunk_by == 1 else size
        picture = Picture(loaded, size, shrunk_by, _orientation(image), profile)
        pixels = preprocess(picture, preprocessing)
        image.close()  # before another decode takes the memory
        loaded.close()
        if memory > HEAVY_BYTES:
            return_freed_memory()
    return pixels


def _load(image: Image.Image, file: _File, reader: Reader, preprocessing: Preprocessing) -> Image.Image:
    """The decoded image, transparent where the file has no pixels."""
    box = canvas.gif_frame(image) if file.format == "GIF" else None
    image.load()
    if file.jpeg and not file.jpeg.has_end:
        _check_rows(image, reader(file.jpeg.with_other_ending()))
    if preprocessing.reference:
        return image
    if box and "transparency" not in image.info:
        return canvas.on_canvas(image.crop(box), Frame(image.size, box[:2]))
    if file.png:
        return _load_transparency(image, file.png, reader)
    if image.format == "AVIF" and is_grey(image.info.get("icc_profile")):
        return image.convert("LA" if "A" in image.getbands() else "L")  # Pillow has RGB of all
    if isinstance(image, BmpFile) and image.drawn:
        rgb = image.convert("RGB")
        rgb.putalpha(image.drawn)
        return rgb
    return image


def _load_transparency(image: Image.Image, png: Png, reader: Reader) -> Image.Image:
    if png.key:  # Pillow keeps the upper halves of the samples: read the lower ones as well
        with _open("PNG", reader(png.pieces)) as low:
            file = cast(ImageFile.ImageFile, low)
            file.tile = [tile._replace(args="RGB;16L") for tile in file.tile]
            low.load()
            image.putalpha(canvas.is_key(image, low, png.key))
    return canvas.on_canvas(image, png.frame) if png.frame else image


def _check_rows(image: Image.Image, reader: DeadlineReader) -> None:
    """Raise CorruptImage if the same JPEG with another ending, from `reader`, differs anywhere."""
    with _open("JPEG", reader) as other:
        other.draft(None, image.size)
        other.load()
        if ImageChops.difference(image, other).getbbox():
            raise CorruptImage("the JPEG file is truncated")


def _pixel_bytes(image: Image.Image, file: _File, data: bytes) -> int:
    """The most memory that loading and preprocessing the picture takes."""
    pixels = image.size[0] * image.size[1]
    if image.format == "AVIF":
        pixels = max(pixels, coded_pixels(data))
    if image.format == "WEBP" and b"VP8L" in data:
        return LOSSLESS_WEBP_BYTES * pixels
    if image.format in CODEC_BYTES:
        return CODEC_BYTES[image.format] * pixels
    return _mode_bytes(image, file) * pixels


def _mode_bytes(image: Image.Image, file: _File) -> int:
    if file.png and file.png.frame:
        width, height = file.png.frame.canvas
        return -(-CANVAS_BYTES * width * height // (image.size[0] * image.size[1]))
    if file.png and file.png.key:
        return KEY_BYTES
    if file.jpeg and not file.jpeg.has_end:
        return UNFINISHED_JPEG_BYTES
    if file.format == "GIF" and canvas.gif_frame(image):
        return CANVAS_BYTES
    if isinstance(image, BmpFile) and image.is_run_coded:
        return RUN_CODED_BYTES
    if "transparency" in image.info:
        return WIDEST_MODE_BYTES
    return MODE_BYTES.get(image.mode, WIDEST_MODE_BYTES)


def _file_bytes(image: Image.Image, data: bytes) -> int:
    """What the file itself takes: some decoders read a copy of it."""
    has_copy = image.format in CODEC_BYTES or (isinstance(image, BmpFile) and image.is_run_coded)
    return (2 if has_copy else 1) * len(data)


def _coefficient_bytes(image: Image.Image) -> int:
    """What libjpeg keeps beside the pixels if it needs the coefficients of the whole image."""
    factors = [across * down for _, across, down, _ in getattr(image, "layer", [])]
    samples = sum(factors) / max(factors, default=1) if factors else len(image.getbands())
    return int(COEFFICIENT_BYTES * samples * image.size[0] * image.size[1])


def _draft(image: Image.Image, target: int) -> int:
    """Ask for a fraction of the size that libjpeg gives for almost nothing; returns the divisor."""
    width, height = image.size
    scale = DRAFT_OVERSAMPLING * target / min(width, height)
    if scale < 1:
        image.draft(None, (int(width * scale) + 1, int(height * scale) + 1))
    return next((n for n in (1, 2, 4, 8) if image.size == (-(-width // n), -(-height // n))), 1)


def _check_size(image: Image.Image, file: _File, limits: DecodeLimits) -> None:
    width, height = file.png.frame.canvas if file.png and file.png.frame else image.size
    limit = MAX_JPEG_PIXELS if file.jpeg else limits.max_pixels
    if width < 1 or height < 1:
        raise CorruptImage("the image has no pixels")
    if max(width, height) > MAX_SIDE:
        raise TooManyPixels(f"the image is {width:,} × {height:,}, the limit for a side is {MAX_SIDE:,}")
    if width * height > limit:
        raise TooManyPixels(f"the image has {width * height:,} pixels, the limit is {limit:,}")


def _check_scans(jpeg: Jpeg, size: tuple[int, int]) -> None:
    if jpeg.scans * size[0] * size[1] > MAX_SCAN_PIXELS:
        raise TooComplex(f"the JPEG has {jpeg.scans:,} scans of {size[0] * size[1]:,} pixels, more than is decoded")


def _orientation(image: Image.Image) -> int:
    """EXIF's, 1 where there is none; broken EXIF must not lose the picture.

    Pillow would take an orientation out of XMP as well, which browsers ignore. libheif has turned
    the image already.
    """
    if image.format == "HEIF":
        return 1
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        value: Any = exif.get(EXIF_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - Pillow raises all kinds on hostile metadata
        return 1
    return value if isinstance(value, int) else 1


@cache
def _bound_pillow() -> None:
    """Pillow's own bounds, process-wide; ours are checked first, with better words."""
    Image.MAX_IMAGE_PIXELS = MAX_JPEG_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES = False
