"""The most memory that decoding a file and preprocessing its image takes; known before it is decoded.

Bytes a pixel at the peak, measured: Pillow keeps RGB in 4, and what is converted is there twice.
"""

from PIL import Image

from common.images import avif, canvas, heif
from common.images.bmp import BmpFile
from common.images.frames import FRAME_FORMATS
from common.images.image_file import ParsedFile

WEBP_BYTES = 13  # two canvases of its decoder, its own pixels, and a copy of the frame
MODE_BYTES = {"1": 6, "L": 1, "P": 6, "RGB": 4.5, "I;16": 8.5, "I": 16}
WIDEST_MODE_BYTES = 9.5  # with transparency, which is premultiplied for resizing
CANVAS_BYTES = 16  # of a frame on a larger canvas: the frame, its RGBA, the canvas
KEY_BYTES = 24  # of 16-bit RGB with a transparent colour: two halves, their comparison, RGBA
RUN_CODED_BYTES = 16  # of a BMP: samples and what is drawn of them, twice, and the image
UNFINISHED_JPEG_BYTES = 16  # decoded twice, to see whether rows are missing
COEFFICIENT_BYTES = 2  # a sample: libjpeg keeps the whole image's if there is more than one scan


def decode_cost(image: Image.Image, file: ParsedFile, coefficients: int) -> int:
    """Bytes for the file, its pixels and what is made of them. Raises DecodeError."""
    return coefficients + pixel_bytes(image, file) + _file_bytes(image, file)


def coefficient_bytes(image: Image.Image) -> int:
    """What libjpeg keeps beside the pixels if it needs the coefficients of the whole image."""
    factors = [across * down for _, across, down, _ in getattr(image, "layer", [])]
    samples = sum(factors) / max(factors, default=1) if factors else len(image.getbands())
    return int(COEFFICIENT_BYTES * samples * image.size[0] * image.size[1])


def pixel_bytes(image: Image.Image, file: ParsedFile) -> int:
    """Bytes for the pixels and what is made of them, without the file itself."""
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
    """The frames inside, a canvas if they are put together or scaled, and the pixels made of it, twice."""
    planned, pixels = avif.plan(data), image.size[0] * image.size[1]
    is_derived = b"grid" in data or planned.sizes != {image.size}
    alpha_bytes = (
        2 if image.mode == "RGBA" else 0
    )  # a plane of 16 bits, made anew if its range is limited
    whole = pixels * (alpha_bytes + (planned.pixel_bytes if is_derived else 0))
    return planned.held_bytes + int(whole) + 2 * pixels * len(image.getbands())


def _file_bytes(image: Image.Image, file: ParsedFile) -> int:
    """What the file itself takes: some decoders read a copy of it."""
    is_copied = image.format in (*FRAME_FORMATS, "HEIF")
    is_copied |= isinstance(image, BmpFile) and image.is_run_coded
    return (2 if is_copied else 1) * len(file.data)
