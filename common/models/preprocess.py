"""Turn a decoded image into the image tower's input, with Pillow and numpy only.

With `Preprocessing.reference` the result equals open_clip's bit by bit (`image_transform_v2` for
inference), with its quirks. It ignores EXIF orientation, drops transparency, saturates 16-bit
samples and resizes palettes by nearest neighbour.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.images.colour import Transform, find_transform
from common.models.spec import Pixels, Preprocessing

# Above this size only the pixels that the crop keeps are computed. An image of 1 × 65,000 pixels
# would otherwise take 13 GB.
MAX_RESIZED_PIXELS = 4_000_000
_BICUBIC_REACH = 2  # pixels on either side, in units of the filter's scale
_TRANSPOSE = {  # EXIF orientation → the operation that undoes it (table 6 of the standard)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# EXIF orientations in which the stored image's left-to-right (or top-to-bottom) axis runs backwards
# in the upright image. In 5 to 8 the two axes change places too.
_MIRRORED_ACROSS = (2, 3, 7, 8)
_MIRRORED_DOWN = (3, 4, 6, 7)
_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

Box = tuple[float, float, float, float]
Finish = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Picture:
    """A decoded image; `size` is the (width, height) of the file.

    A JPEG may be decoded at a fraction of its size: `shrunk_by` is 1, 2, 4 or 8.
    """

    image: Image.Image
    size: tuple[int, int]
    shrunk_by: int = 1
    orientation: int = 1  # the EXIF orientation
    profile: bytes | None = None  # the ICC colour profile


def preprocess(picture: Picture, preprocessing: Preprocessing) -> Pixels:
    """Turn a decoded image into (size, size, 3) uint8 RGB pixels. Raises Pillow's errors."""
    if preprocessing.reference:
        stored = replace(picture, orientation=1)
        return np.asarray(_as_rgb(_square(stored, preprocessing, lambda image: image)))
    image = _plain(picture.image)
    transform = find_transform(picture.profile, image.mode)
    if transform is None and image.mode == "CMYK":
        image = image.convert("RGB")
    finish = partial(_finish, transform=transform)
    rgb = _square(replace(picture, image=image), preprocessing, finish)
    if picture.orientation in _TRANSPOSE:  # turning the square gives what turning the image would
        rgb = rgb.transpose(_TRANSPOSE[picture.orientation])
    return np.asarray(rgb)


def _square(picture: Picture, preprocessing: Preprocessing, finish: Finish) -> Image.Image:
    """The part of the resized image that the model sees; `finish` runs before a border is added."""
    if preprocessing.resize_mode == "squash":
        size = (preprocessing.size, preprocessing.size)
        return finish(_resize(picture, size, preprocessing))
    if preprocessing.resize_mode == "longest":
        return _fit_longest(picture, preprocessing, finish)
    return finish(_fill_shortest(picture, preprocessing))


def _finish(image: Image.Image, transform: Transform | None) -> Image.Image:
    """Convert the resized image to sRGB and composite it on white."""
    return _as_rgb(_on_white(image if transform is None else transform.apply(image)))


def _as_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def normalize(batch: Sequence[Pixels], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Compute (value / 255 - mean) / std with a table: (n, 3, size, size) float32.

    The result is bit-equal to torchvision's.
    """
    table = _normalization_table(preprocessing.mean, preprocessing.std)
    size = preprocessing.size
    out = np.empty((len(batch), 3, size, size), np.float32)
    for row, pixels in zip(out, batch, strict=True):
        for channel in range(3):
            np.take(table[channel], pixels[:, :, channel], out=row[channel])
    return out


def _normalization_table(mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """The normalised value of each level of each channel: (3, 256) float32."""
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    means = np.array(mean, np.float32)
    deviations = np.array(std, np.float32)
    table: NDArray[np.float32] = np.ascontiguousarray(((levels[:, None] - means) / deviations).T)
    return table


def _plain(image: Image.Image) -> Image.Image:
    """Convert to L, RGB, LA, RGBA or CMYK with 8 bits a sample, as the next steps expect."""
    if image.mode.startswith("I"):  # all of Pillow's modes with 16 bits a sample
        return _from_16_bits(np.asarray(image), image.info.get("transparency"))
    if image.mode == "PA" or "transparency" in image.info:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB", "LA", "RGBA", "CMYK") else image.convert("RGB")


def _from_16_bits(samples: NDArray[Any], key: object) -> Image.Image:
    """Keep the upper 8 bits, as browsers do; samples equal to `key` become transparent."""
    image = Image.fromarray((samples.clip(0, 65535) >> 8).astype(np.uint8))
    if isinstance(key, int):
        image.putalpha(Image.fromarray(np.where(samples == key, 0, 255).astype(np.uint8)))
    return image


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode not in ("LA", "RGBA"):
        return image
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def _resize(picture: Picture, target: tuple[int, int], preprocessing: Preprocessing) -> Image.Image:
    """Resize the whole image to `target` (width, height).

    The scale follows the file's own size: the size of a shrunk JPEG is rounded.
    """
    if picture.image.size == target:
        return picture.image
    width, height = picture.size
    box = (
        (0, 0, width / picture.shrunk_by, height / picture.shrunk_by)
        if picture.shrunk_by > 1
        else None
    )
    return picture.image.resize(target, _RESAMPLING[preprocessing.interpolation], box=box)


def _fit_longest(picture: Picture, preprocessing: Preprocessing, finish: Finish) -> Image.Image:
    """Resize the longer edge to `size`, then pad the image to a square.

    It does what open_clip's ResizeKeepRatio(longest=1) and CenterCropOrPad do.
    """
    size = preprocessing.size
    width, height = picture.size
    ratio = max(height / size, width / size)
    target = (max(1, round(width / ratio)), max(1, round(height / ratio)))
    image = finish(_resize(picture, target, preprocessing))
    fill = (
        preprocessing.fill_color
        if len(image.getbands()) == 1
        else (preprocessing.fill_color,) * len(image.getbands())
    )
    square = Image.new(image.mode, (size, size), fill)
    if image.palette is not None:
        square.putpalette(image.palette)
    left, top = ((size - edge) // 2 for edge in image.size)
    square.paste(image, _as_stored((left, top), image.size, (size, size), picture.orientation))
    return square


def _fill_shortest(picture: Picture, preprocessing: Preprocessing) -> Image.Image:
    """Resize the shorter edge to `size`, then crop the centre.

    It does what torchvision's Resize(size) and CenterCrop(size) do.
    """
    size = preprocessing.size
    width, height = picture.size
    longer = int(size * max(width, height) / min(width, height))
    target = (size, longer) if width <= height else (longer, size)
    corner = tuple(round((edge - size) / 2.0) for edge in target)
    left, top = _as_stored((corner[0], corner[1]), (size, size), target, picture.orientation)
    if target[0] * target[1] <= MAX_RESIZED_PIXELS:
        return _resize(picture, target, preprocessing).crop((left, top, left + size, top + size))
    return _crop_of_resized(picture, target, (left, top), preprocessing)


def _as_stored(
    corner: tuple[int, int], inner: tuple[int, int], outer: tuple[int, int], orientation: int
) -> tuple[int, int]:
    """Map the (left, top) corner of a box from the upright image to the stored image.

    If a margin is odd, its extra pixel is on the right or at the bottom of the upright image.
    """
    left, top = corner
    if orientation in _MIRRORED_ACROSS:
        left = outer[0] - inner[0] - left
    if orientation in _MIRRORED_DOWN:
        top = outer[1] - inner[1] - top
    return left, top


def _crop_of_resized(
    picture: Picture, target: tuple[int, int], corner: tuple[int, int], preprocessing: Preprocessing
) -> Image.Image:
    """The crop of the image resized to `target`, computed without the pixels outside the crop.

    It takes two passes, one for each axis.
    """
    image = picture.image
    size = preprocessing.size
    resampling = _RESAMPLING[preprocessing.interpolation]
    scales = tuple(
        edge / picture.shrunk_by / goal for edge, goal in zip(picture.size, target, strict=True)
    )
    if image.mode in ("1", "P"):  # Pillow resizes these modes by nearest neighbour
        left, top = corner
        kept = (
            left * scales[0],
            top * scales[1],
            (left + size) * scales[0],
            (top + size) * scales[1],
        )
        return image.resize((size, size), Image.Resampling.NEAREST, box=kept)
    mode = image.mode
    if mode in ("LA", "RGBA"):  # premultiply alpha, as Image.resize does
        image = image.convert({"LA": "La", "RGBA": "RGBa"}[mode])
    for axis in (0, 1):
        start = corner[axis]
        scale = scales[axis]
        margin = math.ceil(_BICUBIC_REACH * max(1.0, 1 / scale)) + 2
        first = max(0, start - margin)
        last = min(target[axis], start + size + margin)
        across = image.size[1 - axis]
        if axis == 0:
            strip = image.resize(
                (last - first, across), resampling, box=(first * scale, 0, last * scale, across)
            )
            image = strip.crop((start - first, 0, start - first + size, across))
        else:
            strip = image.resize(
                (across, last - first), resampling, box=(0, first * scale, across, last * scale)
            )
            image = strip.crop((0, start - first, across, start - first + size))
    return image.convert(mode) if image.mode != mode else image
