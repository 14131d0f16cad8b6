"""CLIP's byte-pair encoding and other models' tokenizer.json (tokenizers), XLM-RoBERTa's unigram model (sentencepiece).

All at bounded cost. CLIP's and XLM-R's ids are the reference's (open_clip's SimpleTokenizer, transformers'
XLMRobertaTokenizerFast) with one difference on purpose: a special token spelled out in a text, such as `<end_of_text>`
or `</s>`, is text and does not cut the meaning. Around control characters and lone combining marks XLM-R's ids are
sentencepiece's, from which the fast one strays.
"""

import gzip
import hashlib
import html
import shutil
import string
from collections.abc import Callable, Sequence
from functools import cache
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
CHARS_PER_TOKEN = 64  # context length × this is read of a text: far beyond what fills the context

_MERGES = Path(__file__).with_name(
    "clip_bpe_merges.txt.gz"
)  # OpenAI CLIP's bpe_simple_vocab_16e6, those it uses
_ENDLESS_ENTITY = regex.compile(r"&#[0-9]{100,};?")  # no character has such a number
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_XLMR_START, _XLMR_END, _XLMR_UNKNOWN = 0, 2, 3  # <s>, </s>, <unk>
_CLIP_WORD = regex.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE
)


def mend(text: str) -> str:
    """Mojibake mended (ftfy), HTML entities undone twice, white space collapsed."""
    if not (text.isascii() and text.isprintable()) or "&" in text:  # the rest holds nothing to mend
        import ftfy

        text = _unescape(_unescape(ftfy.fix_text(text))).strip()
    return " ".join(text.split())


def clean(text: str) -> str:
    """CLIP's text cleaning: mended, in lower case."""
    return mend(text).lower()


def canonicalize(text: str) -> str:
    """SigLIP's: mended, without ASCII punctuation, in lower case (big_vision's prompt_engineering.py)."""
    return " ".join(mend(text).replace("_", " ").translate(_NO_PUNCTUATION).lower().split())


def _unescape(text: str) -> str:
    """html.unescape, which raises on an entity of more digits than Python makes a number of."""
    return html.unescape(_ENDLESS_ENTITY.sub("\N{REPLACEMENT CHARACTER}", text))


CLEANINGS: dict[Cleaning, Callable[[str], str]] = {
    "whitespace": mend,
    "lower": clean,
    "canonicalize": canonicalize,
}


class TextTokenizer(Protocol):
    """Texts in, token ids out; a text over the context length is cut. May be called from any thread."""

    context_length: int

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text."""
        ...

    def describe(self) -> dict[str, Any]:
        """The fields of a bundle's manifest that describe it."""
        ...

    def vocabulary_sha256(self) -> str:
        """Of the file that `save` writes; empty if it writes none."""
        ...

    def save(self, folder: Path) -> None:
        """Write its file, if it has one, into a bundle's folder.

        Raises NotImplementedError if no bundle can hold it.
        """
        ...


class ClipTokenizer:
    """`[49406] … [49407]`; a text over the context length keeps its first ids, and the end token comes last."""

    def __init__(self, context_length: int = CLIP_CONTEXT_LENGTH) -> None:
        self.context_length = context_length
        self._bpe = _clip_bpe()
        self._start, self._end = 49406, 49407

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, unpadded."""
        limit = self.context_length * CHARS_PER_TOKEN
        words = [_CLIP_WORD.findall(clean(text[:limit])) for text in texts]
        # A word is a token at least: what comes after the context's length in words is cut in any case.
        encoded = self._bpe.encode_batch(
            [found[: self.context_length] for found in words], is_pretokenized=True
        )
        return [
            self._frame(encoding.ids, len(found) > self.context_length or len(text) > limit)
            for encoding, found, text in zip(encoded, words, texts, strict=True)
        ]

    def describe(self) -> dict[str, Any]:
        """Its kind."""
        return {"tokenizer": "clip"}

    def vocabulary_sha256(self) -> str:
        """Empty: the vocabulary is part of the code."""
        return ""

    def save(self, folder: Path) -> None:
        """No file: every bundle has the same vocabulary."""

    def _frame(self, ids: list[int], cut: bool) -> Tokens:
        room = self.context_length - 2
        return Tokens(
            np.array([self._start, *ids[:room], self._end], np.int64), cut or len(ids) > room
        )


@cache
def _clip_bpe() -> Tokenizer:
    """CLIP's vocabulary: 256 bytes, 256 bytes that end a word, then a token a merge."""
    merges = [
        tuple(line.split())
        for line in gzip.decompress(_MERGES.read_bytes()).decode("utf-8").splitlines()
    ]
    letters = _byte_letters()
    tokens = [
        *letters,
        *(letter + "</w>" for letter in letters),
        *("".join(merge) for merge in merges),
    ]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return tokenizer


def _byte_letters() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in the order of CLIP's vocabulary."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


class XlmrTokenizer:
    """`<s> … </s>` by a `sentencepiece.bpe.model`; a text over the context length is cut before `</s>`.

    M-CLIP reads texts as they are; open_clip's towers clean them first.

    sentencepiece reads the 250,000 pieces in 60 MB; the same vocabulary as a `tokenizer.json` takes 490 MB in Rust.
    """

    def __init__(
        self,
        file: Path,
        context_length: int = XLMR_CONTEXT_LENGTH,
        cleaning: Cleaning | None = None,
    ) -> None:
        from sentencepiece import SentencePieceProcessor  # CLIP's own models need none

        self.file, self.context_length, self.cleaning = file, context_length, cleaning
        self._clean = CLEANINGS[cleaning] if cleaning else str
        self._pieces = SentencePieceProcessor(model_file=str(file))

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, unpadded."""
        limit = self.context_length * CHARS_PER_TOKEN
        cleaned = [self._clean(text[:limit]) for text in texts]
        rows: list[list[int]] = self._pieces.encode(cleaned, num_threads=1)
        return [
            self._frame(pieces, len(text) > limit) for pieces, text in zip(rows, texts, strict=True)
        ]

    def vocabulary_sha256(self) -> str:
        """Of its `sentencepiece.bpe.model`."""
        return sha256_of(self.file)

    def save(self, folder: Path) -> None:
        """The `sentencepiece.bpe.model`."""
        shutil.copyfile(self.file, folder / XLMR_FILE)

    def describe(self) -> dict[str, Any]:
        """Its kind, and the cleaning if there is one."""
        if self.cleaning is None:
            return {"tokenizer": "xlmr"}
        return {"tokenizer": "xlmr_cleaned", "cleaning": self.cleaning}

    def _frame(self, pieces: list[int], cut: bool) -> Tokens:
        """XLM-RoBERTa's ids are sentencepiece's and one more, since it puts `<pad>` beside the special ones."""
        room = self.context_length - 2
        ids = [
            _XLMR_START,
            *(piece + 1 if piece else _XLMR_UNKNOWN for piece in pieces[:room]),
            _XLMR_END,
        ]
        return Tokens(np.array(ids, np.int64), cut or len(pieces) > room)


class JsonTokenizer:
    """The vocabulary of any other model, as the hub's `tokenizer.json`; pads to the context length.

    A special token spelled out in a text is that token, as the reference has it. `erased_id` becomes 0.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        context_length: int,
        cleaning: Cleaning,
        erased_id: int | None = None,
    ) -> None:
        self.tokenizer, self.context_length = tokenizer, context_length
        self.cleaning, self.erased_id = cleaning, erased_id

    @classmethod
    def read(
        cls, file: Path, context_length: int, cleaning: Cleaning, erased_id: int | None = None
    ) -> "JsonTokenizer":
        """From a file that `self.tokenizer.save` wrote: truncation and padding are part of it."""
        return cls(Tokenizer.from_file(str(file)), context_length, cleaning, erased_id)

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, padded."""
        limit, clean_text = self.context_length * CHARS_PER_TOKEN, CLEANINGS[self.cleaning]
        encodings = self.tokenizer.encode_batch([clean_text(text[:limit]) for text in texts])
        return [
            Tokens(
                self._erased(np.array(encoding.ids, np.int64)),
                bool(encoding.overflowing) or len(text) > limit,
            )
            for encoding, text in zip(encodings, texts, strict=True)
        ]

    def vocabulary_sha256(self) -> str:
        """Of its `tokenizer.json`."""
        return hashlib.sha256(self.tokenizer.to_str(pretty=False).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """The `tokenizer.json`, truncation and padding included."""
        (folder / JSON_FILE).write_text(self.tokenizer.to_str(pretty=False), "utf-8")

    def describe(self) -> dict[str, Any]:
        """Its kind, cleaning and erased id."""
        return {"tokenizer": "json", "cleaning": self.cleaning, "erased_id": self.erased_id}

    def _erased(self, ids: TokenIds) -> TokenIds:
        return ids if self.erased_id is None else np.where(ids == self.erased_id, 0, ids)
