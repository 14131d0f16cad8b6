"""Computes the peak memory of decoding and preprocessing an image, before it is decoded.

The constants are measured bytes per pixel at the peak. Pillow stores RGB in 4 bytes, and a
conversion holds two copies.
"""

from PIL import Image

from common.images import avif, canvas, heif
from common.images.bmp import BmpFile
from common.images.frames import FRAME_FORMATS
from common.images.image_file import ParsedFile

WEBP_BYTES = 13  # two canvases of the decoder, its pixels, and a copy of the frame
MODE_BYTES = {"1": 6, "L": 1, "P": 6, "RGB": 4.5, "I;16": 8.5, "I": 16}
WIDEST_MODE_BYTES = 9.5  # with transparency, which resizing premultiplies
CANVAS_BYTES = 16  # a frame on a larger canvas: the frame, its RGBA, the canvas
KEY_BYTES = 24  # 16-bit RGB with a transparent colour: two halves, their comparison, RGBA
RUN_CODED_BYTES = 16  # a BMP: samples and the mask of drawn pixels, both twice, and the image
UNFINISHED_JPEG_BYTES = 16  # it is decoded twice, to find out whether rows are missing
# Per sample. With more than one scan, libjpeg keeps the coefficients of the whole image.
COEFFICIENT_BYTES = 2


def decode_cost(image: Image.Image, file: ParsedFile, coefficients: int) -> int:
    """Bytes for the file, its pixels and all copies of them. Raises DecodeError."""
    return coefficients + pixel_bytes(image, file) + _file_bytes(image, file)


def coefficient_bytes(image: Image.Image) -> int:
    """Bytes that libjpeg keeps besides the pixels for the coefficients of the whole image."""
    factors = [across * down for _, across, down, _ in getattr(image, "layer", [])]
    samples = sum(factors) / max(factors, default=1) if factors else len(image.getbands())
    return int(COEFFICIENT_BYTES * samples * image.size[0] * image.size[1])


def pixel_bytes(image: Image.Image, file: ParsedFile) -> int:
    """Bytes for the pixels and all copies of them, without the file itself."""
    pixels = image.size[0] * image.size[1]
    if image.format == "AVIF":
        return _avif_bytes(image, file.data)
    if image.format == "WEBP":
        return WEBP_BYTES * pixels
    if image.format == "HEIF":
        return heif.BYTES_A_PIXEL * pixels
    if file.canvas:
        width, height = file.canvas
        return CANVAS_BYTES * width * height
    return int(_mode_bytes(image, file) * pixels)


def _mode_bytes(image: Image.Image, file: ParsedFile) -> float:
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


def _avif_bytes(image: Image.Image, data: bytes) -> int:
    """Bytes for the frames, two copies of the pixels, and a canvas for joined or scaled frames."""
    planned, pixels = avif.plan(data), image.size[0] * image.size[1]
    is_derived = b"grid" in data or planned.sizes != {image.size}
    alpha_bytes = 2 if image.mode == "RGBA" else 0  # a 16-bit plane, copied if its range is limited
    whole = pixels * (alpha_bytes + (planned.pixel_bytes if is_derived else 0))
    return planned.held_bytes + int(whole) + 2 * pixels * len(image.getbands())


def _file_bytes(image: Image.Image, file: ParsedFile) -> int:
    """Bytes for the file itself, twice if its decoder copies it."""
    is_copied = image.format in (*FRAME_FORMATS, "HEIF")
    is_copied |= isinstance(image, BmpFile) and image.is_run_coded
    return (2 if is_copied else 1) * len(file.data)
