"""An image file of a known format: which of its bytes are decoded, and the one decoder that sees them."""

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
from common.images.reader import BoundedReader, Piece

OpenReader = Callable[[Sequence[Piece]], BoundedReader]

_DECODERS: dict[str, Callable[[IO[bytes]], ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpFile,
}


@dataclass(frozen=True)
class ParsedFile:
    """`data` is the whole file; `pieces` are the parts of it that the decoder gets."""

    format: str
    data: bytes
    pieces: Sequence[Piece]
    jpeg: Jpeg | None = None
    png: Png | None = None

    @property
    def canvas(self) -> tuple[int, int] | None:
        """The size of the whole image if the decoder sees a frame of it alone."""
        return self.png.frame.canvas if self.png and self.png.frame else None


def parse(data: bytes, image_format: str, is_first_frame_wanted: bool) -> ParsedFile:
    """Walk the structure of a file. Raises DecodeError."""
    if image_format == "JPEG":
        jpeg = parse_jpeg(data)
        return ParsedFile(image_format, data, jpeg.pieces, jpeg=jpeg)
    if image_format == "PNG":
        png = parse_png(data, is_first_frame_wanted=is_first_frame_wanted)
        return ParsedFile(image_format, data, png.pieces, png=png)
    pieces = parse_gif(data) if image_format == "GIF" else [data]
    return ParsedFile(image_format, data, pieces)


def open_file(file: ParsedFile, reader: OpenReader) -> tuple[Image.Image, ParsedFile]:
    """The image, nothing decoded; and the file, which may have been mended. Raises what Pillow raises."""
    if file.format == "AVIF":
        image, mended = open_avif(file.data)
        return image, ParsedFile(file.format, mended, [mended])
    return open_pieces(file.format, reader(file.pieces)), file


def open_pieces(image_format: str, reader: BoundedReader) -> Image.Image:
    """By the one decoder of the format: no other sees the file."""
    stream = cast(IO[bytes], reader)
    if image_format in _DECODERS:
        return _DECODERS[image_format](stream)
    heif.register()
    return Image.open(stream, formats=[image_format])
