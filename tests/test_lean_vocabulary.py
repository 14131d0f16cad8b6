"""A byte-pair vocabulary in sentencepiece's format gives the same ids as its tokenizer.json."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from common.models.piece_tokenizer import PieceTokenizer
from common.models.tokenizer import JsonTokenizer
from export.fidelity import evaluation_texts
from export.lean_vocabulary import lean
from export.vocabulary import write_gemma_tokenizer

LENGTH = 16


@dataclass
class Both:
    """A tokenizer and its conversion."""

    original: JsonTokenizer
    converted: PieceTokenizer


def gemma(folder: Path) -> JsonTokenizer:
    words = sorted({word for text in evaluation_texts() for word in text.split()})
    write_gemma_tokenizer([word for word in words if len(word) < 12], 6000, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH, pad_id=0, pad_token="<pad>")
    return JsonTokenizer(tokenizer, LENGTH, "canonicalize")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    original = gemma(tmp_path_factory.mktemp("gemma"))
    converted = lean(original)
    assert converted is not None
    return Both(original, converted)


def test_ids_are_the_same_for_texts_of_every_kind(both: Both, tmp_path: Path) -> None:
    """After a round through its file too."""
    both.converted.save(tmp_path)
    read = PieceTokenizer.read(tmp_path / "tokenizer.model", LENGTH, "canonicalize", (1, 0))
    draw = random.Random(3)
    known = [word for text in evaluation_texts() for word in text.split()]
    letters = "abcdefghijklmnop ▁<>_éß你好狐🦊\u0301\u200d\x07"
    texts = [
        *(
            "",
            " ",
            "<eos>",
            "<pad> a",
            "a <bos> fox",
            "▁▁ a",
            "two\n\nlines",
            "<0x41>",
            "<unused1>",
        ),
        *(" ".join(draw.choices(known, k=draw.randint(1, 9))) for _ in range(300)),
        *("".join(draw.choices(letters, k=draw.randint(1, 40))) for _ in range(600)),
    ]
    for text, theirs, ours, again in zip(
        texts, both.original(texts), both.converted(texts), read(texts), strict=True
    ):
        assert ours.ids.tolist() == theirs.ids.tolist() == again.ids.tolist(), repr(text)
        assert ours.truncated == theirs.truncated == again.truncated, repr(text)


def test_the_original_stands_in_its_description(both: Both) -> None:
    described = both.converted.describe()
    assert described["vocabulary_sha256"] == both.original.vocabulary_sha256()
    assert (described["tokenizer"], described["end_id"]) == ("pieces", 1)


def test_another_kind_of_tokenizer_is_left_as_it_is(both: Both) -> None:
    """Texts with punctuation may have added tokens, which sentencepiece would treat as text."""
    assert lean(JsonTokenizer(both.original.tokenizer, LENGTH, "lower")) is None


def without_a_split(merges: list[list[str]]) -> list[list[str]]:
    """The first piece with two splits loses one."""
    pieces = ["".join(merge) for merge in merges]
    twice = next(place for place, piece in enumerate(pieces) if piece in pieces[:place])
    return merges[:twice] + merges[twice + 1 :]


def with_a_late_split(merges: list[list[str]]) -> list[list[str]]:
    """The same split comes last."""
    kept = without_a_split(merges)
    return kept + [merge for merge in merges if merge not in kept]


@pytest.mark.parametrize("change", [without_a_split, with_a_late_split])
def test_merges_that_sentencepiece_would_not_make_are_left_as_they_are(
    tmp_path: Path, change: Callable[[list[list[str]]], list[list[str]]]
) -> None:
    settings = json.loads(gemma(tmp_path).tokenizer.to_str())
    settings["model"]["merges"] = change(settings["model"]["merges"])
    changed = Tokenizer.from_str(json.dumps(settings))
    assert lean(JsonTokenizer(changed, LENGTH, "canonicalize")) is None
