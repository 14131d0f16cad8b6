"""Frames that are smaller than their canvas, and pixels that a mask leaves out: transparent."""

from typing import cast

import numpy as np
from PIL import Image, ImageFile

from common.images.png import Frame

Key = tuple[int, int, int]


def on_canvas(image: Image.Image, frame: Frame) -> Image.Image:
    """RGBA: the image at its place, everything else transparent."""
    canvas = Image.new("RGBA", frame.canvas)
    canvas.paste(image.convert("RGBA"), frame.corner)
    return canvas


def gif_frame(image: Image.Image) -> tuple[int, int, int, int] | None:
    """The box (left, top, right, bottom) that the first frame covers; None if it covers all."""
    tiles = cast(ImageFile.ImageFile, image).tile
    box = tiles[0].extents if tiles else None
    return box if box not in (None, (0, 0, *image.size)) else None


def is_key(high: Image.Image, low: Image.Image, key: Key) -> Image.Image:
    """An alpha channel: 0 where the 16-bit samples, in upper and lower halves, are `key`."""
    expected = np.array(key, np.uint16)
    same = (np.asarray(high) == expected >> 8) & (np.asarray(low) == expected & 255)
    return Image.fromarray(np.where(same.all(axis=2), 0, 255).astype(np.uint8))
