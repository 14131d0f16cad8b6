"""HEIF images, which phones write as `.heic`: decoded where the package `pillow-heif` is installed."""

from functools import cache
from importlib.util import find_spec

# Bytes a pixel at the peak, measured at 7 to 9.4: libheif's planes, its RGB and Pillow's image.
BYTES_A_PIXEL = 12


@cache
def is_installed() -> bool:
    """Whether this process can decode HEIF."""
    return find_spec("pillow_heif") is not None


@cache
def register() -> None:
    """Teach Pillow the format "HEIF", of which it reads the primary image alone."""
    import pillow_heif

    # One thread: the process decodes many images at a time.
    pillow_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
    )
