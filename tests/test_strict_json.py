"""JSON bodies: lone surrogates are replaced, a byte order mark is skipped, the rest is strict."""

import pytest

from functions import strict_json
from functions.errors import InvalidRequest
from functions.strict_json import loads


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb"\ud83d", "\ufffd"),
        (rb"\uD83D", "\ufffd"),
        (rb"\ude00", "\ufffd"),
        (rb"a\ud83d b", "a\ufffd b"),
        (rb"\ud83d\ude00", "😀"),
        (rb"\ude00\ud83d", "\ufffd\ufffd"),
        (rb"\ud83d\ud83d\ude00", "\ufffd😀"),
        (rb"\ud83d\ude00\ude00", "😀\ufffd"),
        (rb"\\ud83d \ud83d", "\\ud83d \ufffd"),
        (rb"\\\ud83d", "\\\ufffd"),
        (rb"\\ud83d\ude00", "\\ud83d\ufffd"),
        (rb"\n\ud83d\n", "\n\ufffd\n"),
        (b"\xed\xa0\xbd", "\ufffd"),
        (b"\xed\xb8\x80a", "\ufffda"),
        (b"\xed\xa0\xbd\xed\xb8\x80", "😀"),
        (b"\xed\xa0\xbd\\ud83d", "\ufffd\ufffd"),
    ],
)
def test_half_a_surrogate_pair_becomes_the_replacement_character(written: bytes, read: str) -> None:
    body = b'{"texts": ["a fox", "' + written + b'", "\\ud83d\\ude00"]}'
    assert loads(body) == {"texts": ["a fox", read, "😀"]}


def test_as_many_halves_as_allowed_are_mended_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_json, "MAX_REPAIRS", 3)
    assert loads(b'["' + rb"\ud83d" * 3 + b'"]') == ["\ufffd" * 3]
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        loads(b'["' + rb"\ud83d" * 4 + b'"]')


def test_a_byte_order_mark_is_skipped() -> None:
    assert loads(b'\xef\xbb\xbf{"texts": ["a"]}') == {"texts": ["a"]}
    with pytest.raises(InvalidRequest, match="the body is empty"):
        loads(b"\xef\xbb\xbf ")


@pytest.mark.parametrize(
    "body", [b'{"a": "\xff"}', b'{"a": "\xc3"}', b'{"a": "\\ud8"}', b'{"a": \\ud83d}']
)
def test_what_is_broken_otherwise_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"not (valid JSON|UTF-8)"):
        loads(body)


def test_keys_are_compared_after_they_are_mended() -> None:
    with pytest.raises(InvalidRequest, match="appears twice"):
        loads(rb'{"\ud83d": 1, "\ude00": 2}')


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_utf_16_and_utf_32_are_recognised(encoding: str) -> None:
    assert loads('{"texts": ["Füchse 狐 🦊"]}'.encode(encoding)) == {"texts": ["Füchse 狐 🦊"]}


@pytest.mark.parametrize(
    ("charset", "text"),
    [("ISO-8859-1", "Füchse"), ("windows-1252", "“fox” €"), ("Shift_JIS", "狐"), ("gbk", "狐狸")],
)
def test_a_charset_that_is_named_is_read(charset: str, text: str) -> None:
    body = f'{{"texts": ["{text}"]}}'.encode(charset)
    assert loads(body, charset) == {"texts": [text]}
    with pytest.raises(InvalidRequest, match=r"the body is not UTF-8: byte 1\d is wrong"):
        loads(body)


def test_a_body_in_utf_8_is_read_whatever_charset_is_named() -> None:
    body = '{"texts": ["Füchse"]}'.encode()
    assert loads(body, "iso-8859-1") == loads(body, "no-such") == {"texts": ["Füchse"]}


@pytest.mark.parametrize("charset", ["no-such", "zlib_codec", "idna", "unicode_escape", "utf-7"])
def test_no_other_codec_is_used(charset: str) -> None:
    with pytest.raises(InvalidRequest, match=f"its charset '{charset}' is not known"):
        loads(b'{"texts": ["\xff"]}', charset)


def test_a_body_that_is_cut_in_a_character_is_told_so() -> None:
    with pytest.raises(InvalidRequest, match="neither UTF-8 nor utf-16"):
        loads('{"a": "b"}'.encode("utf-16")[:-1])


@pytest.mark.parametrize("filler", ["", "x" * 5_000])
@pytest.mark.parametrize("escape", ["", "\\n"])
def test_a_key_that_is_given_twice_is_found_beside_strings_of_any_length(
    filler: str, escape: str
) -> None:
    values = f'["a:", ":b", "{filler}", ",", "{escape}", ""]'
    right = f'{{"a" \t: {values}, "b":{{"a": 1, "": "b"}}, "c" : [{{"a": 1}}, {{"a": 2}}]}}'
    assert list(loads(right.encode())) == ["a", "b", "c"]
    for wrong in (f'{{"b": {values}, "b": 1}}', f'{{"c": {values}, "d": {{"狐": 1, "狐" : 2}}}}'):
        with pytest.raises(InvalidRequest, match=r'the key "(b|狐)" appears twice'):
            loads(wrong.encode())
