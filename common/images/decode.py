"""Decodes untrusted image files within bounds of time, pixels and memory.

Only formats on an allow-list are decoded. The first bytes choose the format, and only the decoder
of that format reads the file. No decoder starts another program. Animations give their first frame.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from PIL import Image, ImageFile

from common.allowance import Allowance
from common.errors import CorruptImage, DecodeError, ImageTimeout, TooComplex, TooManyPixels
from common.images import heif
from common.images.cost import coefficient_bytes, decode_cost
from common.images.formats import refusal, sniff
from common.images.frames import avif_error
from common.images.image_file import OpenReader, ParsedFile, open_file, parse
from common.images.jpeg import Jpeg
from common.images.limits import DecodeLimits
from common.images.loading import load
from common.images.memory_budget import MOST_DECODE_BYTES, MemoryBudget
from common.images.reader import bounded_reader
from common.memory import return_freed_memory
from common.models.preprocess import Picture, preprocess
from common.models.spec import Pixels, Preprocessing

MAX_JPEG_PIXELS = 100_000_000  # above other formats' limit: large JPEGs are decoded at reduced size
MAX_SIDE = 30_000
MAX_SCAN_PIXELS = 1_500_000_000  # scans × pixels
# A JPEG is decoded at this multiple of the target size or more. Then pixels of photographs differ
# by at most 2 of 255 levels, and those at sharp drawn edges by up to 15 (docs/performance.md).
DRAFT_OVERSAMPLING = 2
EXIF_ORIENTATION = 0x0112
HEAVY_BYTES = 32 * 2**20  # larger decodes return their freed memory to the system


def prepare(
    data: bytes,
    preprocessing: Preprocessing,
    limits: DecodeLimits,
    allowance: Allowance,
    memory: MemoryBudget | None = None,
) -> Pixels:
    """Decode an image file to the image tower's pixels, (size, size, 3) uint8.

    `memory` is the budget that all decodes share; with None, this image has a budget of its own.
    The decode waits for memory until the allowance's deadline, which does not count as decode time.
    Raises DecodeError, ImageTimeout.
    """
    image_format = sniff(data)
    if image_format is None or (image_format == "HEIF" and not heif.is_installed()):
        raise refusal(data)
    _bound_pillow()
    memory = memory or MemoryBudget(MOST_DECODE_BYTES)
    reader = partial(bounded_reader, seconds=limits.seconds, deadline=allowance.deadline)
    with _translated(image_format):
        parsed = parse(data, image_format, is_first_frame_wanted=not preprocessing.reference)
        image, file = open_file(parsed, reader)
        with image:
            _check_size(image, file, limits)
            size = image.size
            shrunk_by, coefficients = _shrink(image, file, preprocessing)
            needed = decode_cost(image, file, coefficients) + allowance.held_bytes
            with memory.reserve(needed, allowance.deadline):
                picture = _load(image, file, reader, preprocessing, size, shrunk_by)
                pixels = preprocess(picture, preprocessing)
                picture.image.close()  # before another decode takes the memory
                image.close()
                if needed > HEAVY_BYTES:
                    return_freed_memory()
                return pixels


@contextmanager
def _translated(image_format: str) -> Iterator[None]:
    """Translate errors of libraries to DecodeError.

    Their messages are dropped, as Pillow's contain heap addresses.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns about sizes, which are checked here, and about harmless metadata.
            warnings.simplefilter("ignore")
            yield
    except (DecodeError, ImageTimeout):
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        reason = type(error).__name__
        raise TooManyPixels("decoding the image needs too much memory", reason=reason) from error
    except Exception as error:
        if image_format == "AVIF" and isinstance(error, RuntimeError):
            raise avif_error(error) from error
        message = f"the {image_format} file is truncated or broken"
        raise CorruptImage(message, reason=type(error).__name__) from error


def _load(
    image: Image.Image,
    file: ParsedFile,
    reader: OpenReader,
    preprocessing: Preprocessing,
    size: tuple[int, int],
    shrunk_by: int,
) -> Picture:
    orientation = _orientation(image)
    profile = file.png.profile if file.png else image.info.get("icc_profile")
    loaded = load(image, file, reader, preprocessing.reference)
    whole_size = loaded.size if shrunk_by == 1 else size
    return Picture(loaded, whole_size, shrunk_by, orientation, profile)


def _shrink(image: Image.Image, file: ParsedFile, preprocessing: Preprocessing) -> tuple[int, int]:
    """Shrink a JPEG; returns the divisor, and the bytes that libjpeg keeps for coefficients."""
    if file.jpeg is None:
        return 1, 0
    _check_scans(file.jpeg, image.size)
    coefficients = coefficient_bytes(image) if file.jpeg.is_buffered else 0
    if not file.jpeg.can_shrink or preprocessing.reference:
        return 1, coefficients
    return _draft(image, preprocessing.size), coefficients


def _draft(image: Image.Image, target: int) -> int:
    """Ask libjpeg to decode at a fraction of the size, which is fast; returns the divisor."""
    width, height = image.size
    scale = DRAFT_OVERSAMPLING * target / min(width, height)
    if scale < 1:
        image.draft(None, (int(width * scale) + 1, int(height * scale) + 1))
    return next((n for n in (1, 2, 4, 8) if image.size == (-(-width // n), -(-height // n))), 1)


def _check_size(image: Image.Image, file: ParsedFile, limits: DecodeLimits) -> None:
    width, height = file.canvas or image.size
    limit = MAX_JPEG_PIXELS if file.jpeg else limits.max_pixels
    if width < 1 or height < 1:
        raise CorruptImage("the image has no pixels")
    if max(width, height) > MAX_SIDE:
        message = f"the image is {width:,} × {height:,}, the limit for a side is {MAX_SIDE:,}"
        raise TooManyPixels(message)
    if width * height > limit:
        message = f"the image has {width * height:,} pixels, the limit is {limit:,}"
        raise TooManyPixels(message)


def _check_scans(jpeg: Jpeg, size: tuple[int, int]) -> None:
    pixels = size[0] * size[1]
    if jpeg.scans * pixels > MAX_SCAN_PIXELS:
        message = f"the JPEG has {jpeg.scans:,} scans of {pixels:,} pixels"
        raise TooComplex(f"{message}, the limit is {MAX_SCAN_PIXELS:,} pixels in all scans")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 if there is none or the EXIF data is broken.

    Pillow would also read an orientation from XMP, which browsers ignore. libheif has already
    turned a HEIF image.
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


def _bound_pillow() -> None:
    """Set Pillow's own limits; ours come first and give better messages."""
    Image.MAX_IMAGE_PIXELS = MAX_JPEG_PIXELS
    ImageFile.LOAD_TRUNCATED_IMAGES = False
