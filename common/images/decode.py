"""Decode bytes that strangers made, within bounds of time, pixels and memory.

The formats are on an allow-list and chosen by the first bytes; Pillow is told that one format, so no other decoder ever
sees the file, and none starts a program. Animations give their first frame.
"""

import io
import time
import warnings
from functools import cache
from typing import Any

from PIL import Image, ImageFile, PngImagePlugin

from common.allowance import Allowance
from common.errors import CorruptImage, DecodeError, ImageTimeout, NotAnImage, TooComplex, TooManyPixels
from common.images import avif
from common.images.frames import FRAME_FORMATS, avif_error, load_frame, open_avif
from common.images.limits import DecodeLimits
from common.images.memory_budget import MOST_DECODE_BYTES, MemoryBudget
from common.memory import return_freed_memory
from common.models.preprocess import Picture, preprocess
from common.models.spec import Pixels, Preprocessing

MAX_JPEG_PIXELS = 100_000_000  # cheap: a big one is decoded at a fraction of its size
MAX_SIDE = 30_000
MAX_SCANS = 64  # of a progressive JPEG; 162 KB of scans cost 19 s, and Pillow has no limit
MAX_SCAN_PIXELS = 1_500_000_000  # scans × pixels
MAX_PNG_TEXT_BYTES = 4 * 2**20
DRAFT_OVERSAMPLING = 2  # a JPEG is shrunk to no less than this times the target: at most 2 of 255 levels off
EXIF_ORIENTATION = 0x0112
SCAN = b"\xff\xda"
FORMATS = "JPEG, PNG, WebP, GIF, BMP, AVIF"

# Bytes a pixel at the peak of decoding and preprocessing, measured: Pillow keeps RGB in 4, and what is converted is
# there twice. WebP's decoder holds two canvases, its own pixels, and a copy of the frame.
WEBP_BYTES = 13
MODE_BYTES = {"1": 6, "L": 1, "P": 6, "RGB": 4.5, "I;16": 8.5, "I": 16}
WIDEST_MODE_BYTES = 9.5  # with transparency, which is premultiplied for resizing
COEFFICIENT_BYTES = 2  # a sample: libjpeg keeps the whole picture's where there is more than one scan

HEAVY_BYTES = 32 * 2**20  # beyond, what a decode leaves is given back to the system


class _BoundedReader(io.BytesIO):
    """Pillow reads JPEG, PNG, GIF and BMP through `read`: a file of a million empty chunks ends here."""

    def __init__(self, data: bytes, seconds: float, deadline: float) -> None:
        super().__init__(data)
        self._until = time.thread_time() + seconds
        self._deadline = deadline

    def read(self, size: int | None = -1, /) -> bytes:
        if time.thread_time() > self._until:
            raise TooComplex("the image took too long to decode")
        if time.monotonic() > self._deadline:
            raise ImageTimeout("the request's time ran out before this image was decoded")
        return super().read(size)


def sniff(data: bytes) -> str | None:
    """Pillow's name of the format that the first bytes show, None for any that we do not read."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp" and (data[8:12] in (b"avif", b"avis") or b"avif" in data[16:64]):
        return "AVIF"
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return "BMP"
    return None


def prepare(
    data: bytes,
    preprocessing: Preprocessing,
    limits: DecodeLimits,
    allowance: Allowance,
    memory: MemoryBudget | None = None,
) -> Pixels:
    """The image tower's pixels, (size, size, 3) uint8.

    `memory` is what decodes share; None: an image is bounded by itself. Raises DecodeError, ImageTimeout.
    """
    image_format = sniff(data)
    if image_format is None:
        raise NotAnImage(f"these {len(data):,} bytes are no image that is read; {FORMATS} are")
    _bound_pillow()
    memory = memory or MemoryBudget(MOST_DECODE_BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is checked here, and of harmless metadata
            image, file = _open(data, image_format, limits, allowance.deadline)
            with image:
                _check_size(image, limits)
                size = image.size
                shrunk_by, decode_bytes = _plan(image, file, preprocessing)
                needed = decode_bytes + _file_bytes(image, file) + allowance.held_bytes
                with memory.reserve(needed, allowance.deadline):
                    return _decode(image, size, shrunk_by, preprocessing, needed)
    except (DecodeError, ImageTimeout):
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise TooManyPixels("the image needs too much memory", reason=type(error).__name__) from error
    except Exception as error:  # Pillow's texts hold heap addresses: they stay out
        raise _broken(image_format, error) from error


def _open(data: bytes, image_format: str, limits: DecodeLimits, deadline: float) -> tuple[Image.Image, bytes]:
    """The image, nothing decoded, and the bytes that it will be decoded from."""
    if image_format == "AVIF":
        return open_avif(data)
    return Image.open(_BoundedReader(data, limits.seconds, deadline), formats=[image_format]), data


def _broken(image_format: str, error: Exception) -> CorruptImage:
    if image_format == "AVIF" and isinstance(error, RuntimeError):
        return avif_error(error)
    return CorruptImage(f"the {image_format} file is truncated or broken", reason=type(error).__name__)


def _decode(
    image: Image.Image, size: tuple[int, int], shrunk_by: int, preprocessing: Preprocessing, needed: int
) -> Pixels:
    orientation = _orientation(image)
    if image.format in FRAME_FORMATS:
        image = load_frame(image)
    else:
        image.load()
    pixels = preprocess(Picture(image, size, shrunk_by, orientation), preprocessing)
    image.close()  # before another decode takes the memory
    if needed > HEAVY_BYTES:
        return_freed_memory()
    return pixels


def _plan(image: Image.Image, data: bytes, preprocessing: Preprocessing) -> tuple[int, int]:
    """The divisor that a JPEG is shrunk by, and the most memory that loading and preprocessing takes."""
    shrunk_by, coefficients = 1, 0
    if image.format in ("JPEG", "MPO"):
        _check_scans(data, image.size)
        coefficients = _coefficient_bytes(image, data)
        if not preprocessing.reference:
            shrunk_by = _draft(image, preprocessing.size)
    return shrunk_by, coefficients + _pixel_bytes(image, data)


def _pixel_bytes(image: Image.Image, data: bytes) -> int:
    pixels = image.size[0] * image.size[1]
    if image.format == "AVIF":
        return _avif_bytes(image, data)
    if image.format == "WEBP":
        return WEBP_BYTES * pixels
    if "transparency" in image.info:
        return int(WIDEST_MODE_BYTES * pixels)
    return int(MODE_BYTES.get(image.mode, WIDEST_MODE_BYTES) * pixels)


def _avif_bytes(image: Image.Image, data: bytes) -> int:
    """The frames inside, a canvas if they are put together or scaled, and the pixels made of it, twice."""
    planned, pixels = avif.plan(data), image.size[0] * image.size[1]
    is_derived = b"grid" in data or planned.sizes != {image.size}
    alpha_bytes = 2 if image.mode == "RGBA" else 0  # a plane of 16 bits, made anew if its range is limited
    canvas = pixels * (alpha_bytes + (planned.pixel_bytes if is_derived else 0))
    return planned.held_bytes + int(canvas) + 2 * pixels * len(image.getbands())


def _file_bytes(image: Image.Image, data: bytes) -> int:
    """What the file itself takes: the decoders of FRAME_FORMATS may read a copy of it."""
    return (2 if image.format in FRAME_FORMATS else 1) * len(data)


def _coefficient_bytes(image: Image.Image, data: bytes) -> int:
    """What libjpeg keeps beside the pixels; a thumbnail in the EXIF data is no scan."""
    if data.count(SCAN) - bytes(image.info.get("exif", b"")).count(SCAN) <= 1:
        return 0
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


def _check_size(image: Image.Image, limits: DecodeLimits) -> None:
    width, height = image.size
    limit = MAX_JPEG_PIXELS if image.format in ("JPEG", "MPO") else limits.max_pixels
    if width < 1 or height < 1:
        raise CorruptImage("the image has no pixels")
    if max(width, height) > MAX_SIDE:
        raise TooManyPixels(f"the image is {width:,} × {height:,}, the limit for a side is {MAX_SIDE:,}")
    if width * height > limit:
        raise TooManyPixels(f"the image has {width * height:,} pixels, the limit is {limit:,}")


def _check_scans(data: bytes, size: tuple[int, int]) -> None:
    scans = data.count(SCAN)
    if scans > MAX_SCANS or scans * size[0] * size[1] > MAX_SCAN_PIXELS:
        raise TooComplex(f"the JPEG has {scans:,} scans of {size[0] * size[1]:,} pixels, more than is decoded")


def _orientation(image: Image.Image) -> int:
    """EXIF's, 1 where there is none; broken EXIF must not lose the picture."""
    try:
        value: Any = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - Pillow raises all kinds on hostile metadata
        return 1
    return value if isinstance(value, int) else 1


@cache
def _bound_pillow() -> None:
    """Pillow's own bounds, process-wide; ours are checked first, with better words."""
    Image.MAX_IMAGE_PIXELS = MAX_JPEG_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    PngImagePlugin.MAX_TEXT_MEMORY = MAX_PNG_TEXT_BYTES
