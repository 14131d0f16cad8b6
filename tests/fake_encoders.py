"""Fake encoders with predictable vectors, which record their input."""

import threading
from collections.abc import Sequence

import numpy as np

from common.errors import EncodingError
from common.models.spec import EncoderInfo, Pixels, Preprocessing, TokenIds, Tokens, Vectors

INFO = EncoderInfo(4, "aa" * 32, engine="fake", device="cpu", precision="fp32")
PREPROCESSING = Preprocessing(8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
GATE_S = 10


class FakeText:
    """Tokens are the codes of at most 16 characters; the vector is one-hot at the length modulo 4.

    `poison` cannot be encoded. While `gate` is not set, a batch waits.
    """

    info = INFO
    context_length = 16

    def __init__(self) -> None:
        self.batches: list[list[int]] = []  # the lengths of the items of each
        self.gate = threading.Event()
        self.gate.set()

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        limit = self.context_length
        return [
            Tokens(np.array([ord(c) for c in text[:limit]]), len(text) > limit) for text in texts
        ]

    def encode(self, items: Sequence[TokenIds]) -> Vectors:
        self.gate.wait(GATE_S)
        self.batches.append([len(item) for item in items])
        if any("".join(map(chr, item)) == "poison" for item in items):
            raise EncodingError("poisoned")
        return np.eye(4, dtype=np.float32)[[len(item) % 4 for item in items]]


class FakeImage:
    """The vector of any image is one-hot at 0."""

    info = INFO

    def __init__(self, preprocessing: Preprocessing = PREPROCESSING) -> None:
        self.preprocessing = preprocessing
        self.encoded = 0

    def encode(self, items: Sequence[Pixels]) -> Vectors:
        self.encoded += len(items)
        return np.eye(4, dtype=np.float32)[[0] * len(items)]
