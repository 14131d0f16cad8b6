"""Adds HEIF images, such as phones' `.heic` files, if the package `pillow-heif` is installed."""

from importlib.util import find_spec

# Per pixel at the peak, measured at 7 to 9.4: libheif's planes, its RGB and Pillow's image.
BYTES_A_PIXEL = 12


def is_installed() -> bool:
    """Whether this process can decode HEIF."""
    return find_spec("pillow_heif") is not None


def register() -> None:
    """Register the format "HEIF" with Pillow; only the primary image of a file is read."""
    import pillow_heif

    # One thread per image, as the process decodes several images at a time.
    pillow_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
    )
