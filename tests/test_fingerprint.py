"""A fingerprint changes with everything that a vector depends on, and with nothing else."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from common.models import fingerprint
from common.models.fingerprint import (
    ImageIngredients,
    TextIngredients,
    combined_sha256,
    image_fingerprint,
    pair_fingerprint,
    text_fingerprint,
)

PREPROCESSING = {
    "size": 224,
    "mean": (0.5, 0.5, 0.5),
    "resize_mode": "shortest",
    "reference": False,
}
TEXT = TextIngredients("a" * 64, "json", "b" * 64, 64, "lower", None, "fp32", 512)
IMAGE = ImageIngredients("c" * 64, PREPROCESSING, "fp32", 512)
OTHER: dict[str, Any] = {
    "weights_sha256": "a" * 63 + "b",
    "tokenizer": "xlmr_cleaned",
    "vocabulary_sha256": "b" * 63 + "c",
    "context_length": 65,
    "cleaning": "canonicalize",
    "erased_id": 0,
    "precision": "int8",
    "dimensions": 511,
    "preprocessing": PREPROCESSING | {"size": 225},
}


@pytest.mark.parametrize("name", [field.name for field in fields(TextIngredients)])
def test_each_ingredient_of_a_text_changes_its_fingerprint(name: str) -> None:
    assert text_fingerprint(replace(TEXT, **{name: OTHER[name]})) != text_fingerprint(TEXT)


@pytest.mark.parametrize("name", [field.name for field in fields(ImageIngredients)])
def test_each_ingredient_of_an_image_changes_its_fingerprint(name: str) -> None:
    assert image_fingerprint(replace(IMAGE, **{name: OTHER[name]})) != image_fingerprint(IMAGE)


@pytest.mark.parametrize(
    "change",
    [
        {"mean": (0.5, 0.5, 0.5000001)},
        {"resize_mode": "squash"},
        {"reference": True},
        {"interpolation": "bilinear"},
    ],
)
def test_any_setting_of_the_preprocessing_counts(change: dict[str, object]) -> None:
    changed = replace(IMAGE, preprocessing=PREPROCESSING | change)
    assert image_fingerprint(changed) != image_fingerprint(IMAGE)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("TEXT_CODE", lambda: text_fingerprint(TEXT)),
        ("IMAGE_CODE", lambda: image_fingerprint(IMAGE)),
        ("EDITION", lambda: pair_fingerprint("1", "2")),
        ("INT8_CODE", lambda: text_fingerprint(replace(TEXT, precision="int8"))),
    ],
)
def test_a_new_version_of_the_code_changes_it(
    monkeypatch: pytest.MonkeyPatch, name: str, given: Callable[[], str]
) -> None:
    before = given()
    monkeypatch.setattr(fingerprint, name, getattr(fingerprint, name) + 1)
    assert given() != before


def test_a_new_quantizer_does_not_change_vectors_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    before = text_fingerprint(TEXT)
    monkeypatch.setattr(fingerprint, "INT8_CODE", 99)
    assert text_fingerprint(TEXT) == before


def test_the_form_that_the_values_came_in_does_not_count() -> None:
    """A manifest's lists and another order of names are the preprocessing's tuples."""
    from_json = dict(reversed(PREPROCESSING.items())) | {"mean": [0.5, 0.5, 0.5]}
    assert image_fingerprint(replace(IMAGE, preprocessing=from_json)) == image_fingerprint(IMAGE)
    assert combined_sha256("a", {"x": 1, "y": (2,)}) == combined_sha256("a", {"y": [2], "x": 1})


def test_sides_and_pair_never_share_one() -> None:
    text, image = text_fingerprint(TEXT), image_fingerprint(IMAGE)
    assert len({text, image, pair_fingerprint(text, image), pair_fingerprint(image, text)}) == 4
    assert len(text) == 16
    assert pair_fingerprint("other", image) != pair_fingerprint(text, image)
