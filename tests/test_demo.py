"""How good the shipped demo models are, over the fixed list of emoji: the query a name, the gallery 400 pictures."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from common.images.decode import DecodeLimits, prepare
from common.models.catalog import resolve
from common.models.spec import EngineOptions, ImageEncoder, Vectors
from common.models.torch_engine import load_image_encoder, load_text_encoder
from export.emoji import LANGUAGES, names, picture_at

OPTIONS = EngineOptions(weights_dir=Path("no-such-folder"))
LIMITS = DecodeLimits(max_pixels=10**6)
BATCH = 50


@cache
def pictures(style: str) -> Vectors:
    """(400, 256)"""
    return picture_vectors(load_image_encoder(resolve("demo"), OPTIONS), style)


def picture_vectors(encoder: ImageEncoder, style: str) -> Vectors:
    """(400, 256)"""
    pixels = [
        prepare(picture_at(index, style), encoder.preprocessing, LIMITS, deadline=float("inf"))
        for index in range(len(names()))
    ]
    return np.concatenate([encoder.encode(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)])


def captions(model: str, language: str, article: str = "") -> Vectors:
    """(400, 256)"""
    encoder = load_text_encoder(resolve(model), OPTIONS)
    texts = [article + entry[language] for entry in names()]
    return encoder.encode([tokens.ids for tokens in encoder.tokenize(texts)])


def recall(queries: Vectors, gallery: Vectors, at: int) -> float:
    """Share of queries whose own picture is among the first `at`."""
    scores = queries @ gallery.T
    return float(((scores > scores.diagonal()[:, None]).sum(axis=1) < at).mean())


@pytest.mark.parametrize(("style", "at", "floor"), [("google", 1, 0.80), ("google", 5, 0.95), ("twitter", 5, 0.35)])
def test_names_find_their_pictures(style: str, at: int, floor: float) -> None:
    """`google` is a style that the model was trained on, `twitter` one that it never saw."""
    assert recall(captions("demo", "en"), pictures(style), at) >= floor


def test_names_in_twelve_languages_find_their_pictures() -> None:
    fifths = {language: recall(captions("demo-mclip", language), pictures("google"), 5) for language in LANGUAGES}
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
