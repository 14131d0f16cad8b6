"""Loads the pixels of an open image: one frame, transparent where the file has no pixels."""

from typing import cast

from PIL import Image, ImageChops, ImageFile

from common.errors import CorruptImage
from common.images import canvas
from common.images.bmp import BmpFile
from common.images.colour import is_grey
from common.images.frames import FRAME_FORMATS, load_frame
from common.images.image_file import OpenReader, ParsedFile, open_pieces
from common.images.png import Frame, Png
from common.images.reader import Reader


def load(
    image: Image.Image, file: ParsedFile, reader: OpenReader, is_reference: bool
) -> Image.Image:
    """Decode an image; with `is_reference`, exactly as Pillow does.

    Raises CorruptImage, and passes on Pillow's exceptions.
    """
    if image.format in FRAME_FORMATS:
        return _without_false_colours(load_frame(image), image, is_reference)
    box = canvas.gif_frame(image) if file.format == "GIF" else None
    image.load()
    if file.jpeg and not file.jpeg.has_end:
        _check_rows(image, reader(file.jpeg.with_other_ending()))
    if is_reference:
        return image
    if box and "transparency" not in image.info:
        return canvas.on_canvas(image.crop(box), Frame(image.size, box[:2]))
    if file.png:
        return _with_transparency(image, file.png, reader)
    if isinstance(image, BmpFile) and image.drawn:
        rgb = image.convert("RGB")
        rgb.putalpha(image.drawn)
        return rgb
    return image


def _without_false_colours(
    loaded: Image.Image, image: Image.Image, is_reference: bool
) -> Image.Image:
    """Convert a grey AVIF to grey, as Pillow decodes every AVIF to RGB."""
    if is_reference or image.format != "AVIF" or not is_grey(image.info.get("icc_profile")):
        return loaded
    return loaded.convert("LA" if "A" in loaded.getbands() else "L")


def _with_transparency(image: Image.Image, png: Png, reader: OpenReader) -> Image.Image:
    if png.key:  # Pillow keeps only the upper bytes of the samples: read the lower ones too
        with open_pieces("PNG", reader(png.pieces)) as low:
            file = cast(ImageFile.ImageFile, low)
            file.tile = [tile._replace(args="RGB;16L") for tile in file.tile]
            low.load()
            image.putalpha(canvas.is_key(image, low, png.key))
    return canvas.on_canvas(image, png.frame) if png.frame else image


def _check_rows(image: Image.Image, reader: Reader) -> None:
    """Raise CorruptImage if rows are missing.

    Then the JPEG from `reader`, the same with another ending, has other pixels.
    """
    with open_pieces("JPEG", reader) as other:
        other.draft(None, image.size)
        other.load()
        if ImageChops.difference(image, other).getbbox():
            raise CorruptImage("the JPEG file is truncated")
