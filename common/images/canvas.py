"""Places frames on larger canvases, and makes pixels of a key colour transparent."""

from typing import cast

import numpy as np
from PIL import Image, ImageFile

from common.images.png import Frame

Key = tuple[int, int, int]


def on_canvas(image: Image.Image, frame: Frame) -> Image.Image:
    """An RGBA canvas with the image at its position; the rest is transparent."""
    canvas = Image.new("RGBA", frame.canvas)
    canvas.paste(image.convert("RGBA"), frame.corner)
    return canvas


def gif_frame(image: Image.Image) -> tuple[int, int, int, int] | None:
    """The box (left, top, right, bottom) that the first frame covers; None if it covers all."""
    tiles = cast(ImageFile.ImageFile, image).tile
    box = tiles[0].extents if tiles else None
    return box if box not in (None, (0, 0, *image.size)) else None


def is_key(high: Image.Image, low: Image.Image, key: Key) -> Image.Image:
    """An alpha channel that is 0 where the 16-bit samples equal `key`, and 255 elsewhere.

    `high` and `low` hold the upper and the lower bytes of the samples.
    """
    expected = np.array(key, np.uint16)
    same = (np.asarray(high) == expected >> 8) & (np.asarray(low) == expected & 255)
    return Image.fromarray(np.where(same.all(axis=2), 0, 255).astype(np.uint8))
