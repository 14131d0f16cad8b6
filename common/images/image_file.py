"""Parses an image file of a known format, and opens it with the decoder of that format only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, cast

from PIL import GifImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from common.images import heif
from common.images.bmp import BmpFile
from common.images.frames import open_avif
from common.images.gif import parse as parse_gif
from common.images.jpeg import Jpeg
from common.images.jpeg import parse as parse_jpeg
from common.images.png import Png
from common.images.png import parse as parse_png
from common.images.reader import Piece, Reader

OpenReader = Callable[[Sequence[Piece]], Reader]

_DECODERS: dict[str, Callable[[IO[bytes]], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpFile,
}


@dataclass(frozen=True)
class ParsedFile:
    """A parsed image file.

    `data` is the whole file; `pieces` are the parts of it that the decoder reads.
    """

    format: str
    data: bytes
    pieces: Sequence[Piece]
    jpeg: Jpeg | None = None
    png: Png | None = None

    @property
    def canvas(self) -> tuple[int, int] | None:
        """The size of the whole image if the decoder reads only a frame of it; else None."""
        return self.png.frame.canvas if self.png and self.png.frame else None


def parse(data: bytes, image_format: str, is_first_frame_wanted: bool) -> ParsedFile:
    """Parse the structure of a file. Raises DecodeError."""
    if image_format == "JPEG":
        jpeg = parse_jpeg(data)
        return ParsedFile(image_format, data, jpeg.pieces, jpeg=jpeg)
    if image_format == "PNG":
        png = parse_png(data, is_first_frame_wanted=is_first_frame_wanted)
        return ParsedFile(image_format, data, png.pieces, png=png)
    pieces = parse_gif(data) if image_format == "GIF" else [data]
    return ParsedFile(image_format, data, pieces)


def open_file(file: ParsedFile, reader: OpenReader) -> tuple[Image.Image, ParsedFile]:
    """Open the image without decoding its pixels; returns it and the file, repaired if necessary.

    Raises CorruptImage, and passes on Pillow's exceptions.
    """
    if file.format == "AVIF":
        image, mended = open_avif(file.data)
        return image, ParsedFile(file.format, mended, [mended])
    return open_pieces(file.format, reader(file.pieces)), file


def open_pieces(image_format: str, reader: Reader) -> Image.Image:
    """Open the file with the decoder of its format; no other decoder reads it."""
    stream = cast(IO[bytes], reader)
    if image_format in _DECODERS:
        return _DECODERS[image_format](stream)
    heif.register()
    return Image.open(stream, formats=[image_format])
