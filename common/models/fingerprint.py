"""Fingerprints, second edition: what two vectors must have in common to be compared.

One for the text side, one for the image side, one for the pair. Each is over everything that a vector
depends on, and over nothing else: neither the format of the weights' file nor the engine, as long as it
computes in the same numeric precision. Pure: values in, 16 hex digits out.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

EDITION = 2
TEXT_CODE = 1  # raise it when cleaning, tokenizing, truncating or pooling of texts changes vectors
IMAGE_CODE = 1  # raise it when decoding or preprocessing of images changes vectors
INT8_CODE = 1  # raise it when the export quantizes in another way
DIGITS = 16

PrecisionClass = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True)
class TextIngredients:
    """What a text's vector depends on.

    `weights_sha256` is over the tensors and the settings that shape the tower (pooling, activation, heads).
    `vocabulary_sha256` is of the tokenizer's file; empty for CLIP's, which is part of the code.
    """

    weights_sha256: str
    tokenizer: str
    vocabulary_sha256: str
    context_length: int
    cleaning: str | None
    erased_id: int | None
    precision: PrecisionClass
    dimensions: int


@dataclass(frozen=True)
class ImageIngredients:
    """What an image's vector depends on. `preprocessing` is Preprocessing.as_dict."""

    weights_sha256: str
    preprocessing: Mapping[str, object]
    precision: PrecisionClass
    dimensions: int


def text_fingerprint(ingredients: TextIngredients) -> str:
    """Of the vectors of texts, 16 hex digits."""
    return _digest("text", TEXT_CODE, ingredients.precision, asdict(ingredients))


def image_fingerprint(ingredients: ImageIngredients) -> str:
    """Of the vectors of images, 16 hex digits."""
    return _digest("image", IMAGE_CODE, ingredients.precision, asdict(ingredients))


def pair_fingerprint(text: str, image: str) -> str:
    """Of a model that gives both, from the fingerprints of its sides."""
    return _digest("pair", 0, "fp32", {"text": text, "image": image})


def combined_sha256(tensors_sha256: str, settings: Mapping[str, object]) -> str:
    """Over a tower's tensors and the settings that shape it, as `weights_sha256` above."""
    return hashlib.sha256(_canonical([tensors_sha256, settings])).hexdigest()


def _digest(side: str, code: int, precision: str, values: Mapping[str, object]) -> str:
    quantizer = INT8_CODE if precision == "int8" else 0
    parts = [EDITION, side, code, quantizer, values]
    return hashlib.sha256(_canonical(parts)).hexdigest()[:DIGITS]


def _canonical(value: object) -> bytes:
    """As JSON with sorted names; tuples and lists are the same."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
