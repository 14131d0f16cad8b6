"""From a decoded picture to the image tower's input, with Pillow and numpy alone.

Under `Preprocessing.reference` the result is open_clip's own to the bit (`image_transform_v2`, inference), quirks and
all: EXIF orientation ignored, transparency dropped, 16-bit samples saturated, palettes resized by nearest neighbour.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from common.images.colour import Transform, find_transform
from common.models.spec import Pixels, Preprocessing

# Of what `corrected` makes of an image. A higher number means other pixels for some images, hence
# other vectors.
PREPROCESSING_VERSION = 2
MAX_RESIZED_PIXELS = (
    4_000_000  # beyond, only what the crop keeps is computed: 1 × 65,000 would become 13 GB
)
_BICUBIC_REACH = 2  # pixels on either side, in units of the filter's scale
_TRANSPOSE = {  # EXIF orientation → what undoes it (the standard's table 6)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# EXIF orientations under which the stored image's left is the upright one's right (or, where the
# sides change places, its bottom or top), and its top the upright one's bottom.
_MIRRORED_ACROSS = (2, 3, 7, 8)
_MIRRORED_DOWN = (3, 4, 6, 7)
_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

Box = tuple[float, float, float, float]
Finish = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Picture:
    """A decoded image. `shrunk_by` (1, 2, 4 or 8): a JPEG was decoded at a fraction of its `size` (width, height)."""

    image: Image.Image
    size: tuple[int, int]
    shrunk_by: int = 1
    orientation: int = 1  # as EXIF has it
    profile: bytes | None = None  # ICC's, of the colours


def preprocess(picture: Picture, preprocessing: Preprocessing) -> Pixels:
    """(size, size, 3) uint8 RGB. Raises what Pillow raises."""
    if preprocessing.reference:
        stored = replace(picture, orientation=1)
        return np.asarray(_as_rgb(_square(stored, preprocessing, lambda image: image)))
    image = _plain(picture.image)
    transform = find_transform(picture.profile, image.mode)
    if transform is None and image.mode == "CMYK":
        image = image.convert("RGB")
    finish = partial(_finish, transform=transform)
    rgb = _square(replace(picture, image=image), preprocessing, finish)
    if picture.orientation in _TRANSPOSE:  # a square turns as the whole would have
        rgb = rgb.transpose(_TRANSPOSE[picture.orientation])
    return np.asarray(rgb)


def _square(picture: Picture, preprocessing: Preprocessing, finish: Finish) -> Image.Image:
    """The part of the resized picture that the model sees. `finish` runs before a border is added."""
    if preprocessing.resize_mode == "squash":
        size = (preprocessing.size, preprocessing.size)
        return finish(_resize(picture, size, preprocessing))
    if preprocessing.resize_mode == "longest":
        return _fit_longest(picture, preprocessing, finish)
    return finish(_fill_shortest(picture, preprocessing))


def _finish(image: Image.Image, transform: Transform | None) -> Image.Image:
    """The small image in sRGB, on white."""
    return _as_rgb(_on_white(image if transform is None else transform.apply(image)))


def _as_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def normalize(batch: Sequence[Pixels], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """(n, 3, size, size) float32: value / 255, minus mean, over std, bit-equal to torchvision's, by a table."""
    table = _normalization_table(preprocessing.mean, preprocessing.std)
    size = preprocessing.size
    out = np.empty((len(batch), 3, size, size), np.float32)
    for row, pixels in zip(out, batch, strict=True):
        for channel in range(3):
            np.take(table[channel], pixels[:, :, channel], out=row[channel])
    return out


@cache
def _normalization_table(mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
    """(3, 256): the normalised value of each level of each channel."""
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    means, deviations = np.array(mean, np.float32), np.array(std, np.float32)
    table: NDArray[np.float32] = np.ascontiguousarray(((levels[:, None] - means) / deviations).T)
    return table


def _plain(image: Image.Image) -> Image.Image:
    """As L, RGB, LA, RGBA or CMYK of 8 bits a sample, so that what follows means the same for all."""
    if image.mode.startswith("I"):  # 16 bits a sample, whatever Pillow calls it
        return _from_16_bits(np.asarray(image), image.info.get("transparency"))
    if image.mode == "PA" or "transparency" in image.info:
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB", "LA", "RGBA", "CMYK") else image.convert("RGB")


def _from_16_bits(samples: NDArray[Any], key: object) -> Image.Image:
    """The upper 8 bits, as browsers show them; transparent where a sample is `key`."""
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
    """The whole picture as `target` (width, height); sizes are the original's, or a shrunk JPEG would be off."""
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
    """Longer edge to size, then padded to a square: open_clip's ResizeKeepRatio(longest=1) and CenterCropOrPad."""
    size, (width, height) = preprocessing.size, picture.size
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
    """Shorter edge to size, then the centre: torchvision's Resize(size) and CenterCrop(size)."""
    size, (width, height) = preprocessing.size, picture.size
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
    """The corner of a box that lies at `corner` of the upright image, in the image as stored.

    An odd rest has its extra pixel on one side: the one that is upright right or below.
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
    """The crop that resizing to `target` would give, computed in two passes over what it keeps alone."""
    image, size = picture.image, preprocessing.size
    resampling = _RESAMPLING[preprocessing.interpolation]
    scales = tuple(
        edge / picture.shrunk_by / goal for edge, goal in zip(picture.size, target, strict=True)
    )
    if image.mode in ("1", "P"):  # Pillow resizes these by nearest neighbour
        left, top = corner
        kept = (
            left * scales[0],
            top * scales[1],
            (left + size) * scales[0],
            (top + size) * scales[1],
        )
        return image.resize((size, size), Image.Resampling.NEAREST, box=kept)
    mode = image.mode
    if mode in ("LA", "RGBA"):
        image = image.convert(
            {"LA": "La", "RGBA": "RGBa"}[mode]
        )  # premultiplied, as Image.resize does it
    for axis in (0, 1):
        start, scale, goal = corner[axis], scales[axis], target[axis]
        margin = math.ceil(_BICUBIC_REACH * max(1.0, 1 / scale)) + 2
        first, last = max(0, start - margin), min(goal, start + size + margin)
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
