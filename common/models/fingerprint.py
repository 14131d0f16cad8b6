"""Compute fingerprints: two vectors are comparable only if their fingerprints are equal.

There is one for the text side, one for the image side and one for the pair. Each covers everything
that a vector depends on. The engine and the format of the weights file do not count, if the numeric
precision is the same. These functions are pure and return 16 hex digits.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

EDITION = 2
TEXT_CODE = 1  # increase it when text cleaning, tokenizing, truncating or pooling changes vectors
IMAGE_CODE = 2  # increase it when image decoding or preprocessing changes vectors
INT8_CODE = 1  # increase it when the export's quantization changes vectors
DIGITS = 16
RANDOM = "random-"  # before the fingerprints of random weights

PrecisionClass = Literal["fp32", "fp16", "bf16", "int8"]


@dataclass(frozen=True)
class TextIngredients:
    """Everything that a text's vector depends on.

    `weights_sha256` covers the tensors and the settings that shape the tower, such as pooling,
    activation and heads. `vocabulary_sha256` is the sum of the tokenizer's file. It is empty for
    CLIP's tokenizer, whose vocabulary is part of the code.
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
    """Everything that an image's vector depends on.

    `weights_sha256` is as in TextIngredients; `preprocessing` is what `Preprocessing.as_dict`
    returns.
    """

    weights_sha256: str
    preprocessing: Mapping[str, object]
    precision: PrecisionClass
    dimensions: int


@dataclass(frozen=True)
class Fingerprints:
    """Of texts' vectors, of images' vectors and of the pair.

    They begin with `random-` if the weights are random.
    """

    text: str
    image: str
    pair: str

    @classmethod
    def of_sides(cls, text: str, image: str) -> "Fingerprints":
        """The record of a model, from the fingerprints of its two sides."""
        is_random = text.startswith(RANDOM) or image.startswith(RANDOM)
        pair = pair_fingerprint(text.removeprefix(RANDOM), image.removeprefix(RANDOM))
        return cls(text, image, f"{RANDOM}{pair}" if is_random else pair)


def text_fingerprint(ingredients: TextIngredients) -> str:
    """The fingerprint of text vectors: 16 hex digits."""
    return _digest("text", TEXT_CODE, ingredients.precision, asdict(ingredients))


def image_fingerprint(ingredients: ImageIngredients) -> str:
    """The fingerprint of image vectors: 16 hex digits."""
    return _digest("image", IMAGE_CODE, ingredients.precision, asdict(ingredients))


def pair_fingerprint(text: str, image: str) -> str:
    """The fingerprint of a model, from those of its text and image sides: 16 hex digits."""
    return _digest("pair", 0, "fp32", {"text": text, "image": image})


def combined_sha256(tensors_sha256: str, settings: Mapping[str, object]) -> str:
    """The sum over a tower's tensors and the settings that shape it: 64 hex digits.

    The ingredients take it as `weights_sha256`.
    """
    return hashlib.sha256(_canonical([tensors_sha256, settings])).hexdigest()


def _digest(side: str, code: int, precision: str, values: Mapping[str, object]) -> str:
    quantizer = INT8_CODE if precision == "int8" else 0
    parts = [EDITION, side, code, quantizer, values]
    return hashlib.sha256(_canonical(parts)).hexdigest()[:DIGITS]


def _canonical(value: object) -> bytes:
    """The value as compact JSON with sorted keys; tuples and lists give the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
