"""How good the demo models are: an emoji's name is the query, 400 images are the gallery."""

import numpy as np
import pytest

from common.models.catalog import resolve
from export.emoji import LANGUAGES
from tests.demo_recall import captions, pictures, recall


@pytest.mark.parametrize(
    ("style", "at", "floor"), [("google", 1, 0.80), ("google", 5, 0.95), ("twitter", 5, 0.35)]
)
def test_names_find_their_pictures(style: str, at: int, floor: float) -> None:
    """`google` is a style that the model was trained on, `twitter` one that it never saw."""
    assert recall(captions("demo", "en"), pictures(style), at) >= floor


def test_names_in_twelve_languages_find_their_pictures() -> None:
    fifths = {
        language: recall(captions("demo-mclip", language), pictures("google"), 5)
        for language in LANGUAGES
    }
    assert np.mean(list(fifths.values())) >= 0.80, fifths


@pytest.mark.parametrize("model", ["demo", "demo-mclip"])
def test_an_article_before_a_name_does_not_hide_it(model: str) -> None:
    """People write "a fox"."""
    assert recall(captions(model, "en", "a "), pictures("google"), 5) >= 0.80


def test_the_shipped_weights_have_their_sums_beside_them() -> None:
    for folder in (resolve("demo").text.folder, resolve("demo-mclip").text.folder):
        assert folder is not None
        named = {line.split()[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
        assert {path.name for path in folder.glob("*.safetensors")} <= named
