"""Measures how well the demo models find the images of the 400 emoji."""

from functools import cache
from pathlib import Path

import numpy as np

from common.models.catalog import resolve
from common.models.spec import EngineOptions, ImageEncoder, Vectors
from common.models.torch_engine import load_image_encoder, load_text_encoder
from export.emoji import names, picture_at
from tests.decoding import decode

OPTIONS = EngineOptions(weights_dir=Path("no-such-folder"))
BATCH = 50


@cache
def pictures(style: str) -> Vectors:
    """(400, 256): the torch engine's vectors of every emoji in `style`."""
    return picture_vectors(load_image_encoder(resolve("demo"), OPTIONS), style)


def picture_vectors(encoder: ImageEncoder, style: str) -> Vectors:
    """(400, 256): what `encoder` makes of every emoji in `style`."""
    pixels = [
        decode(picture_at(index, style), encoder.preprocessing) for index in range(len(names()))
    ]
    batches = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
    return np.concatenate([encoder.encode(batch) for batch in batches])


def captions(model: str, language: str, article: str = "") -> Vectors:
    """(400, 256): the torch engine's vectors of every emoji's name in `language`."""
    encoder = load_text_encoder(resolve(model), OPTIONS)
    texts = [article + entry[language] for entry in names()]
    return encoder.encode([tokens.ids for tokens in encoder.tokenize(texts)])


def recall(queries: Vectors, gallery: Vectors, at: int) -> float:
    """The share of queries whose own image is among the first `at`."""
    scores = queries @ gallery.T
    return float(((scores > scores.diagonal()[:, None]).sum(axis=1) < at).mean())
