"""Tokenize with a byte-pair vocabulary in sentencepiece's format, at a fifth of the memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.models.bundle import PIECES_FILE
from common.models.spec import Cleaning, Tokens
from common.models.tokenizer import CHARS_PER_TOKEN, CLEANINGS


class PieceTokenizer:
    """A byte-pair vocabulary in sentencepiece's format, converted from a `tokenizer.json`.

    The export converts one only if the ids are the same. Each text ends with an end token, and is
    padded to the context length. `ends` are the ids of the end token and of padding.
    """

    def __init__(
        self,
        pieces: Any,
        content: bytes,
        context_length: int,
        cleaning: Cleaning,
        ends: tuple[int, int],
        original_sha256: str,
    ) -> None:
        self.context_length = context_length
        self.cleaning = cleaning
        self._pieces = pieces
        self._content = content
        self._end_id, self._pad_id = ends
        self._original_sha256 = original_sha256

    @classmethod
    def read(
        cls, file: Path, context_length: int, cleaning: Cleaning, ends: tuple[int, int]
    ) -> "PieceTokenizer":
        """Read a file that `save` wrote."""
        from sentencepiece import SentencePieceProcessor

        pieces = SentencePieceProcessor(model_file=str(file))
        return cls(pieces, b"", context_length, cleaning, ends, "")

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """The token ids of each text, padded."""
        limit = self.context_length * CHARS_PER_TOKEN
        clean_text = CLEANINGS[self.cleaning]
        rows: list[list[int]] = self._pieces.encode(
            [clean_text(text[:limit]) for text in texts], num_threads=1
        )
        return [self._frame(row, len(text) > limit) for row, text in zip(rows, texts, strict=True)]

    def vocabulary_sha256(self) -> str:
        """The sha256 of the `tokenizer.json` that it was converted from."""
        return self._original_sha256

    def save(self, folder: Path) -> None:
        """Write the `tokenizer.model` into a bundle's folder."""
        (folder / PIECES_FILE).write_bytes(self._content)

    def describe(self) -> dict[str, Any]:
        """The kind of this tokenizer, its cleaning, its end token and its original's sum."""
        return {
            "tokenizer": "pieces",
            "cleaning": self.cleaning,
            "end_id": self._end_id,
            "vocabulary_sha256": self._original_sha256,
        }

    def _frame(self, pieces: list[int], cut: bool) -> Tokens:
        room = self.context_length - 1
        ids = np.full(self.context_length, self._pad_id, np.int64)
        kept = [*pieces[:room], self._end_id]
        ids[: len(kept)] = kept
        return Tokens(ids, cut or len(pieces) > room)
