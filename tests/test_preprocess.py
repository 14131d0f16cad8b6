"""Preprocessing: bit for bit as open_clip's with `reference`, a correct image otherwise."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.models.preprocess import Picture, normalize, preprocess
from common.models.spec import Preprocessing
from tests.reference import import_open_clip

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
KINDS = (
    "1",
    "L",
    "LA",
    "P",
    "P transparent",
    "PA",
    "RGB",
    "RGBA",
    "RGBX",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
    "I;16",
)
SIZES = (
    (64, 64),
    (63, 64),
    (224, 224),
    (640, 480),
    (480, 640),
    (1, 1),
    (1, 7),
    (9, 2),
    (65, 300),
    (301, 77),
    (500, 9),
    (1000, 999),
    (33, 512),
)


def reference(**options: Any) -> Preprocessing:
    values: dict[str, Any] = {"size": 224, "mean": MEAN, "std": STD, "reference": True}
    return Preprocessing(**(values | options))


def corrected(**options: Any) -> Preprocessing:
    values: dict[str, Any] = {"size": 8, "mean": MEAN, "std": STD}
    return Preprocessing(**(values | options))


def make(kind: str, size: tuple[int, int]) -> Image.Image:
    """An image of noise and edges in that mode."""
    width, height = size
    random = np.random.default_rng(width * 1000 + height)
    rgba = random.integers(0, 256, (height, width, 4), dtype=np.uint8)
    rgba[: height // 2, : width // 2] = (250, 20, 20, 255)
    image = Image.fromarray(rgba)
    if kind == "I;16":
        return Image.fromarray(random.integers(0, 65536, (height, width), dtype=np.uint16))
    if kind in ("LAB", "LA"):
        return (
            image.convert("RGB").convert("L").convert("LA")
            if kind == "LA"
            else Image.merge("LAB", image.split()[:3])
        )
    if kind.startswith("P"):
        # A palette of few pixels' colours: to find the best one for the noise takes seconds.
        few = image.convert("RGB").resize((8, 8), Image.Resampling.NEAREST)
        few = few.convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
        palette = image.convert("RGB").quantize(palette=few, dither=Image.Dither.NONE)
        if kind == "P transparent":
            palette.info["transparency"] = 3
        return palette.convert("PA") if kind == "PA" else palette
    return image if kind == "RGBA" else image.convert("RGB").convert(kind)


def of(
    image: Image.Image, preprocessing: Preprocessing, **options: Any
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return preprocess(Picture(image, image.size, **options), preprocessing)


def open_clip_transform(preprocessing: Preprocessing) -> Any:
    transform = import_open_clip().transform
    config = transform.PreprocessCfg(
        size=preprocessing.size,
        mean=preprocessing.mean,
        std=preprocessing.std,
        interpolation=preprocessing.interpolation,
        resize_mode=preprocessing.resize_mode,
        fill_color=preprocessing.fill_color,
    )
    return transform.image_transform_v2(config, is_train=False)


@pytest.mark.parametrize("kind", KINDS)
def test_reference_preprocessing_is_open_clips_to_the_bit(kind: str) -> None:
    preprocessing = reference()
    transform = open_clip_transform(preprocessing)
    for size in SIZES:
        image = make(kind, size)
        ours = normalize([of(image, preprocessing)], preprocessing)[0]
        np.testing.assert_array_equal(ours, transform(image).numpy(), err_msg=f"{kind} {size}")


@pytest.mark.parametrize("resize_mode", ["squash", "longest"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_other_modes_are_open_clips_too(resize_mode: str, interpolation: str) -> None:
    preprocessing = reference(
        resize_mode=resize_mode, interpolation=interpolation, fill_color=7, size=60
    )
    transform = open_clip_transform(preprocessing)
    for size in ((64, 64), (640, 480), (31, 64), (65, 300), (60, 60)):
        image = make("RGB", size)
        ours = normalize([of(image, preprocessing)], preprocessing)[0]
        np.testing.assert_array_equal(ours, transform(image).numpy(), err_msg=f"{size}")


def test_extreme_shapes_are_computed_where_the_crop_is_alone_and_come_out_the_same() -> None:
    for size in ((1, 3000), (3000, 1), (2, 4001)):
        image = make("RGB", size)
        preprocessing = reference(size=64)
        longer = int(64 * max(size) / min(size))
        whole = image.resize(
            (64, longer) if size[0] < size[1] else (longer, 64), Image.Resampling.BICUBIC
        )
        start = round((longer - 64) / 2)
        box = (0, start, 64, start + 64) if size[0] < size[1] else (start, 0, start + 64, 64)
        difference = of(image, preprocessing).astype(int) - np.asarray(whole.crop(box)).astype(int)
        assert np.abs(difference).max() <= 1, size


def test_a_one_pixel_wide_image_of_65_000_pixels_takes_bounded_memory() -> None:
    assert of(make("RGB", (1, 65_000)), reference()).shape == (224, 224, 3)


def test_transparency_lies_on_white() -> None:
    image = Image.new("RGBA", (20, 20), (255, 255, 255, 0))
    image.paste((255, 0, 0, 255), (0, 0, 10, 20))
    for mode in ("RGBA", "PA"):
        pixels = of(image if mode == "RGBA" else image.convert("P").convert("PA"), corrected())
        assert pixels[4, 7].tolist() == [255, 255, 255] or mode == "PA"
    assert of(image, corrected())[4, 0].tolist() == [255, 0, 0]
    grey = Image.new("LA", (20, 20), (0, 0))
    assert of(grey, corrected())[0, 0].tolist() == [255, 255, 255]


def test_16_bit_samples_are_scaled_not_saturated() -> None:
    image = Image.fromarray(np.full((20, 20), 32768, np.uint16))
    assert of(image, corrected())[0, 0].tolist() == [128, 128, 128]


def test_palettes_are_expanded_before_resizing() -> None:
    stripes = np.zeros((16, 16), np.uint8)
    stripes[:, ::2] = 255
    image = Image.fromarray(stripes).convert("P")
    assert 100 < of(image, corrected())[4, 4, 0] < 156


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int) -> None:
    upright = make("RGB", (80, 60))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    ours = of(stored, corrected(size=20), orientation=orientation)
    assert np.abs(ours.astype(int) - of(upright, corrected(size=20)).astype(int)).mean() < 8
