"""Tokenize texts at bounded cost, for CLIP, XLM-RoBERTa and models with a `tokenizer.json`.

The `tokenizers` library runs CLIP's byte-pair encoding and the `tokenizer.json` of other models.
`sentencepiece` runs XLM-RoBERTa's unigram model.

The ids of CLIP and XLM-RoBERTa equal the reference's (open_clip's SimpleTokenizer, transformers'
XLMRobertaTokenizerFast), with two differences:

- A special token spelled out in a text, such as `<end_of_text>` or `</s>`, is treated as text. It
  does not end the text early.
- Around control characters and lone combining marks, XLM-RoBERTa's ids are those of sentencepiece,
  from which the fast tokenizer differs.
"""

import gzip
import hashlib
import html
import shutil
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import regex
from tokenizers import Tokenizer, models, pre_tokenizers

from common.files import sha256_of
from common.models.bundle import JSON_FILE, XLMR_FILE
from common.models.spec import Cleaning, TokenIds, Tokens

CLIP_CONTEXT_LENGTH = 77
XLMR_CONTEXT_LENGTH = 512  # 514 positions less the two that the padding index takes
# Only context length × this many characters of a text are read. That far exceeds the context.
CHARS_PER_TOKEN = 64

# The merges of OpenAI CLIP's bpe_simple_vocab_16e6 that its vocabulary uses.
_MERGES = Path(__file__).with_name("clip_bpe_merges.txt.gz")
_ENDLESS_ENTITY = regex.compile(r"&#[0-9]{100,};?")  # no character has such a large number
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_XLMR_START, _XLMR_END, _XLMR_UNKNOWN = 0, 2, 3  # <s>, </s>, <unk>
_CLIP_WORD = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE
)


def mend(text: str) -> str:
    """Repair mojibake (ftfy), unescape HTML entities twice and collapse white space."""
    if not (text.isascii() and text.isprintable()) or "&" in text:  # other texts need no repair
        import ftfy

        text = _unescape(_unescape(ftfy.fix_text(text))).strip()
    return " ".join(text.split())


def clean(text: str) -> str:
    """Clean a text as CLIP does: mend it and convert it to lower case."""
    return mend(text).lower()


def canonicalize(text: str) -> str:
    """Clean a text as SigLIP does: mend it, drop ASCII punctuation and convert it to lower case.

    The source is big_vision's prompt_engineering.py.
    """
    return " ".join(mend(text).replace("_", " ").translate(_NO_PUNCTUATION).lower().split())


def _unescape(text: str) -> str:
    """Call `html.unescape`, without the entities whose many digits make it raise ValueError."""
    return html.unescape(_ENDLESS_ENTITY.sub("\N{REPLACEMENT CHARACTER}", text))


CLEANINGS: dict[Cleaning, Callable[[str], str]] = {
    "whitespace": mend,
    "lower": clean,
    "canonicalize": canonicalize,
}


class TextTokenizer(Protocol):
    """Turns texts into token ids, cut at the context length. Any thread may call it."""

    context_length: int

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """The token ids of each text."""
        ...

    def describe(self) -> dict[str, Any]:
        """The fields of a bundle's manifest that describe this tokenizer."""
        ...

    def vocabulary_sha256(self) -> str:
        """The sha256 of the file that `save` writes; empty if it does not write one."""
        ...

    def save(self, folder: Path) -> None:
        """Write the tokenizer's file, if it has one, into a bundle's folder.

        Raises NotImplementedError if a bundle cannot store this tokenizer.
        """
        ...


class ClipTokenizer:
    """CLIP's tokenizer: ids between a start token (49406) and an end token (49407).

    A text over the context length keeps its first ids and the end token.
    """

    def __init__(self, context_length: int = CLIP_CONTEXT_LENGTH) -> None:
        self.context_length = context_length
        self._bpe = _clip_bpe()
        self._start = 49406
        self._end = 49407

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """The token ids of each text, unpadded."""
        limit = self.context_length * CHARS_PER_TOKEN
        words = [_CLIP_WORD.findall(clean(text[:limit])) for text in texts]
        # Each word is at least one token, so words beyond the context length are always cut.
        encoded = self._bpe.encode_batch(
            [found[: self.context_length] for found in words], is_pretokenized=True
        )
        return [
            self._frame(encoding.ids, len(found) > self.context_length or len(text) > limit)
            for encoding, found, text in zip(encoded, words, texts, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """The kind of this tokenizer, which is all that a bundle needs."""
        return {"tokenizer": "clip"}

    def vocabulary_sha256(self) -> str:
        """Empty: the vocabulary is part of the code."""
        return ""

    def save(self, folder: Path) -> None:
        """Write nothing: the vocabulary is part of the code."""

    def _frame(self, ids: list[int], cut: bool) -> Tokens:
        room = self.context_length - 2
        return Tokens(
            np.array([self._start, *ids[:room], self._end], np.int64), cut or len(ids) > room
        )


def _clip_bpe() -> Tokenizer:
    """Build CLIP's vocabulary: 256 bytes, 256 bytes that end a word, then one token a merge."""
    halves = gzip.decompress(_MERGES.read_bytes()).decode("utf-8").split()
    merges = list(zip(halves[::2], halves[1::2], strict=True))
    letters = _byte_letters()
    tokens = [
        *letters,
        *(letter + "</w>" for letter in letters),
        *map("".join, merges),
    ]
    vocabulary = dict(zip(tokens, range(len(tokens)), strict=True))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return tokenizer


def _byte_letters() -> list[str]:
    """The letters that GPT-2 uses for the 256 bytes, in the order of CLIP's vocabulary."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


class XlmrTokenizer:
    """XLM-RoBERTa's tokenizer, from a `sentencepiece.bpe.model`: ids between `<s>` and `</s>`.

    A text over the context length is cut before `</s>`. M-CLIP does not clean texts; open_clip's
    towers do.

    sentencepiece loads the 250,000 pieces in 60 MB of memory. The same vocabulary as a
    `tokenizer.json` takes 490 MB in the `tokenizers` library.
    """

    def __init__(
        self,
        file: Path,
        context_length: int = XLMR_CONTEXT_LENGTH,
        cleaning: Cleaning | None = None,
    ) -> None:
        from sentencepiece import SentencePieceProcessor  # CLIP's own models do not need it

        self.file = file
        self.context_length = context_length
        self.cleaning = cleaning
        self._clean = CLEANINGS[cleaning] if cleaning else str
        self._pieces = SentencePieceProcessor(model_file=str(file))

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """The token ids of each text, unpadded."""
        limit = self.context_length * CHARS_PER_TOKEN
        cleaned = [self._clean(text[:limit]) for text in texts]
        rows: list[list[int]] = self._pieces.encode(cleaned, num_threads=1)
        return [
            self._frame(pieces, len(text) > limit) for pieces, text in zip(rows, texts, strict=True)
        ]

    def vocabulary_sha256(self) -> str:
        """The sha256 of the `sentencepiece.bpe.model`."""
        return sha256_of(self.file)

    def save(self, folder: Path) -> None:
        """Copy the `sentencepiece.bpe.model` into a bundle's folder."""
        shutil.copyfile(self.file, folder / XLMR_FILE)

    def describe(self) -> dict[str, Any]:
        """The kind of this tokenizer, and its cleaning if it has one."""
        if self.cleaning is None:
            return {"tokenizer": "xlmr"}
        return {"tokenizer": "xlmr_cleaned", "cleaning": self.cleaning}

    def _frame(self, pieces: list[int], cut: bool) -> Tokens:
        """Turn sentencepiece's ids into XLM-RoBERTa's, which are one higher because of `<pad>`."""
        room = self.context_length - 2
        ids = [
            _XLMR_START,
            *(piece + 1 if piece else _XLMR_UNKNOWN for piece in pieces[:room]),
            _XLMR_END,
        ]
        return Tokens(np.array(ids, np.int64), cut or len(pieces) > room)


class JsonTokenizer:
    """The tokenizer of any other model, from the hub's `tokenizer.json`.

    The file decides about truncation and padding. A special token spelled out in a text becomes
    that token, as in the reference. Ids equal to `erased_id` become 0.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        context_length: int,
        cleaning: Cleaning,
        erased_id: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.context_length = context_length
        self.cleaning = cleaning
        self.erased_id = erased_id

    @classmethod
    def read(
        cls, file: Path, context_length: int, cleaning: Cleaning, erased_id: int | None = None
    ) -> "JsonTokenizer":
        """Read a file that `save` wrote, with its truncation and padding."""
        return cls(Tokenizer.from_file(str(file)), context_length, cleaning, erased_id)

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """The token ids of each text, padded if the file says so."""
        limit = self.context_length * CHARS_PER_TOKEN
        clean_text = CLEANINGS[self.cleaning]
        encodings = self.tokenizer.encode_batch([clean_text(text[:limit]) for text in texts])
        return [
            Tokens(
                self._erased(np.array(encoding.ids, np.int64)),
                bool(encoding.overflowing) or len(text) > limit,
            )
            for encoding, text in zip(encodings, texts, strict=True)
        ]

    def vocabulary_sha256(self) -> str:
        """The sha256 of the `tokenizer.json`."""
        return hashlib.sha256(self.tokenizer.to_str(pretty=False).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write the `tokenizer.json`, with truncation and padding, into a bundle's folder."""
        (folder / JSON_FILE).write_text(self.tokenizer.to_str(pretty=False), "utf-8")

    def describe(self) -> dict[str, Any]:
        """The kind of this tokenizer, its cleaning and its erased id."""
        return {"tokenizer": "json", "cleaning": self.cleaning, "erased_id": self.erased_id}

    def _erased(self, ids: TokenIds) -> TokenIds:
        return ids if self.erased_id is None else np.where(ids == self.erased_id, 0, ids)
