"""Our tokenizers' ids are the reference's, at bounded cost."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.models.catalog import resolve
from common.models.tokenizer import CHARS_PER_TOKEN, ClipTokenizer, XlmrTokenizer, clean
from common.models.weights import MCLIP_TOKENIZER
from tests.reference import import_open_clip

CONTEXT = 77
XLMR_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
SPECIAL = ("<start_of_text>", "<end_of_text>")
KINDS = [
    "a photo of a cat",
    "A LOUD Sentence, with punctuation!!! (and brackets) #hashtag @name"
    " 12,345.67 it's they're I'll",
    "",
    " \t\n ",
    "naïve café, Straße, ǅ, İstanbul, ﬁne, ½ ² ①",
    "Привет мир · γειά σου · שלום · مرحبا · नमस्ते · สวัสดี"
    " · გამარჯობა · 안녕하세요 · 你好 · こんにちは",
    "🦊🍕🏳️‍🌈👩🏽‍🚀 👨‍👩‍👧‍👦",
    "&lt;b&gt; &amp;amp; &#39; &eacute; &nbsp; &notanentity;",
    "schÃ¶n â€œquotedâ€\x9d Ð¿Ñ€Ð¸Ð²ÐµÑ‚",
    "nul \x00 bell \x07 escape \x1b zero\u200bwidth \ufeff soft\u00adhyphen \u2028 line",
    "_under_ score__ 'quoted' can't WON'T 'tis",
    "𝕏 𝓯𝓪𝓷𝓬𝔂 Ａｆｕｌｌ ｗｉｄｔｈ ㍿",
]


@cache
def reference() -> Any:
    return import_open_clip().SimpleTokenizer(context_length=CONTEXT)


@cache
def ours() -> ClipTokenizer:
    return ClipTokenizer(CONTEXT)


def expected(text: str) -> list[int]:
    """open_clip's ids without their padding."""
    row: list[int] = reference()([text])[0].tolist()
    return row[: row.index(49407) + 1]


@pytest.mark.parametrize("text", KINDS)
def test_ids_of_many_kinds_of_text_are_open_clips(text: str) -> None:
    assert ours()([text])[0].ids.tolist() == expected(text)


@given(st.text(max_size=60).filter(lambda text: not any(special in text for special in SPECIAL)))
@example("É")
@example("㏒\u0301")
def test_ids_of_any_text_are_open_clips(text: str) -> None:
    assert ours()([text])[0].ids.tolist() == expected(text)


@given(
    st.lists(
        st.sampled_from([word for kind in KINDS for word in kind.split()] + ["a", "of", "fox"]),
        max_size=120,
    )
)
def test_ids_of_long_texts_are_open_clips(words: list[str]) -> None:
    text = " ".join(words)
    (tokens,) = ours()([text])
    assert tokens.ids.tolist() == expected(text)
    assert len(tokens.ids) <= CONTEXT


def test_a_cut_text_is_reported_and_keeps_its_end_token() -> None:
    exact, over = ours()(["fox " * 75, "fox " * 76])
    assert (len(exact.ids), exact.truncated) == (77, False)
    assert (len(over.ids), over.truncated) == (77, True)
    assert over.ids[-1] == 49407


def test_special_tokens_spelled_out_are_text() -> None:
    (tokens,) = ours()(["a <end_of_text> b <start_of_text>"])
    assert tokens.ids.tolist().count(49407) == 1
    assert tokens.ids.tolist().count(49406) == 1


def test_a_word_of_100_000_letters_costs_no_more_than_the_context() -> None:
    """The reference's BPE is quadratic in a word's length."""
    (tokens,) = ours()(["x" * 100_000])
    assert (len(tokens.ids), tokens.truncated) == (77, True)
    assert tokens.ids.tolist() == ours()(["x" * CONTEXT * CHARS_PER_TOKEN])[0].ids.tolist()


def test_cleaning_leaves_plain_ascii_to_the_fast_path() -> None:
    assert clean("  A  Photo ") == "a photo"
    assert clean("schÃ¶n &amp;amp; gut") == "schön & gut"


@cache
def demo_vocabulary() -> Path:
    folder = resolve("demo-mclip").text.folder
    assert folder is not None
    return folder / MCLIP_TOKENIZER


@cache
def xlmr() -> XlmrTokenizer:
    return XlmrTokenizer(demo_vocabulary())


@cache
def xlmr_reference() -> Any:
    import_open_clip()  # lets transformers import beside a CPU torch
    from transformers import XLMRobertaTokenizerFast

    return XLMRobertaTokenizerFast(vocab_file=str(demo_vocabulary()))


@pytest.mark.parametrize("text", KINDS)
def test_xlmr_ids_of_many_kinds_of_text_are_transformers_own(text: str) -> None:
    (tokens,) = xlmr()([text])
    assert tokens.ids.tolist() == xlmr_reference()(text)["input_ids"]


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Mn"]), max_size=60).filter(
        lambda text: not any(special in text for special in XLMR_SPECIAL)
    )
)
def test_xlmr_ids_of_any_text_are_transformers_own(text: str) -> None:
    (tokens,) = xlmr()([text])
    assert tokens.ids.tolist() == xlmr_reference()(text)["input_ids"]


@pytest.mark.parametrize("text", ["a </s> b", "</s>", "<s>a<pad>", "a ＜/s＞ b", "<mask>"])
def test_xlmr_special_tokens_spelled_out_are_text(text: str) -> None:
    (tokens,) = xlmr()([text])
    assert (tokens.ids[0], tokens.ids[-1]) == (0, 2)
    assert not {0, 1, 2} & set(tokens.ids[1:-1].tolist())


def test_xlmr_texts_are_cut_at_512_tokens() -> None:
    exact, over, empty = xlmr()(["a " * 255, "a " * 256, ""])  # two pieces each
    assert (len(exact.ids), exact.truncated) == (512, False)
    assert (len(over.ids), over.truncated) == (512, True)
    assert over.ids[-1] == 2
    assert empty.ids.tolist() == [0, 2]


@pytest.mark.parametrize("digits", [99, 100, 4300, 4301, 4900])
@pytest.mark.parametrize("ampersand", ["&", "&amp;", "&amp;amp;"])
def test_an_entity_of_thousands_of_digits_is_no_error(digits: int, ampersand: str) -> None:
    """Python makes no number of more than 4,300 digits, and html.unescape raises."""
    assert ours()([f"a fox {ampersand}#{'9' * digits};"])[0].truncated is False
