"""Reads JSON strictly and within limits, but repairs half surrogate pairs as tokenizers do."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import orjson

from functions.charsets import in_utf8
from functions.errors import InvalidRequest

MAX_VALUES = 100_000  # in one body; 32 MiB of `[],` would become 700 MB of lists
MAX_REPAIRS = 100_000  # of half surrogate pairs; each takes a microsecond
LONG_STRING = 200  # bytes between two quotes on average; then looking for quotes is quicker
MAX_SEEN = 1_000_000  # runs of surrogates that are examined
_BOM = b"\xef\xbb\xbf"
# A JSON string, and in group 1 the colon that makes it a key. An unterminated string matches up to
# the end of the body, so that no byte is read twice.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"\s*+(:)?|\\?\Z)', re.DOTALL)
_PLAIN_STRING = re.compile(rb'"([^"]*+)"[ \t\r\n]*+(:?)')
_COLON = re.compile(rb"[ \t\r\n]*:")
_HIGH, _LOW = rb"[dD][89abAB][0-9a-fA-F]{2}", rb"[dD][c-fC-F][0-9a-fA-F]{2}"
_PAIR = _HIGH + rb"\\u" + _LOW
# Consecutive pairs of surrogates, or in group 1 a half without its other half. The pattern starts
# with plain characters, because `re` finds those fastest.
_SURROGATES = re.compile(
    rb"\\u(?:" + _PAIR + rb"(?:\\u" + _PAIR + rb")*+|(" + _HIGH + rb"|" + _LOW + rb"))"
)
_MAY_HOLD_HALVES = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
_RAW_HALVES = re.compile(
    rb"\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]|\xed[\xa0-\xbf][\x80-\xbf]"
)


def loads(body: bytes, charset: str = "") -> Any:
    """The value of `body`. Half a surrogate pair becomes U+FFFD. A byte order mark is skipped.

    `charset` is the encoding that the content type names, if any. It counts if the body is not
    UTF-8. Raises InvalidRequest for invalid JSON, NaN, duplicate keys in one object, deep nesting,
    and more than MAX_VALUES values.
    """
    body = body.removeprefix(_BOM)
    if not body.strip():
        raise InvalidRequest("the body is empty, expected a JSON object")
    if body.count(b",") > MAX_VALUES and _has_too_many_values(body):
        raise InvalidRequest(f"the body has more than {MAX_VALUES:,} values")
    try:
        value = orjson.loads(body)
    except ValueError:
        body = in_utf8(replace_halves(body), charset).removeprefix(_BOM)
        value = _loads_or_refuse(body)
    twice = Counter(_keys_written(body)) - Counter(_keys_read(value))
    if twice:
        key = json.dumps(next(iter(twice))[:100], ensure_ascii=False)
        raise InvalidRequest(f"the key {key} appears twice in one object")
    return value


def _loads_or_refuse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidRequest(f"the body is not valid JSON{where}") from error


def replace_halves(body: bytes) -> bytes:
    """`body` with U+FFFD in place of each half of a surrogate pair, as tokenizers do.

    Text splitters that count UTF-16 units cut emoji in two. JSON then has such a half as an
    escape, or as bytes that are not UTF-8 (WTF-8). Two consecutive halves written as bytes
    (CESU-8) become their character. At most MAX_REPAIRS of each kind are replaced.
    """
    if not _MAY_HOLD_HALVES.search(body):
        return body
    body = _RAW_HALVES.sub(_character_of, body, count=MAX_REPAIRS)
    mended = bytearray(body)
    for start in islice(_escaped_halves(body), MAX_REPAIRS):
        mended[start : start + 6] = b"\\ufffd"  # same length as the escape that it replaces
    return bytes(mended)


def _escaped_halves(body: bytes) -> Iterator[int]:
    """The positions of escaped halves. An escaped backslash does not start an escape."""
    place = 0
    for _ in range(MAX_SEEN):
        found = _SURROGATES.search(body, place)
        if found is None:
            return
        before = body[place : found.start()]
        if (len(before) - len(before.rstrip(b"\\"))) % 2:
            place = found.start() + 2
            continue
        if found[1]:
            yield found.start()
        place = found.end()


def _character_of(found: re.Match[bytes]) -> bytes:
    halves = found[0].decode("utf-8", "surrogatepass")
    return halves.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _has_too_many_values(body: bytes) -> bool:
    """Counts commas outside strings, and strings; returns early once the limit is passed."""
    commas, start = 0, 0
    for strings, string in enumerate(_STRING.finditer(body)):
        commas += body.count(b",", start, string.start())
        start = string.end()
        if max(commas, strings // 2) > MAX_VALUES:  # each value may also have a key
            return True
    return commas + body.count(b",", start) > MAX_VALUES


def _keys_written(body: bytes) -> Iterator[str]:
    """Every key in `body`, including duplicates, of which orjson silently keeps the last."""
    if b"\\" not in body:
        yield from _plain_keys(body)
        return
    for string in _STRING.finditer(body):
        if string[1]:
            key: str = orjson.loads(string[0].rstrip(b": \t\r\n"))
            yield key


def _plain_keys(body: bytes) -> Iterator[str]:
    """As _keys_written, for valid JSON without a backslash: each quote begins or ends a string."""
    if len(body) < LONG_STRING * body.count(b'"'):
        yield from (string.decode() for string, colon in _PLAIN_STRING.findall(body) if colon)
        return
    begin = body.find(b'"')  # 50 times as fast as the pattern for strings of 10,000 characters
    while begin >= 0:
        end = body.index(b'"', begin + 1)
        if _COLON.match(body, end + 1):
            yield body[begin + 1 : end].decode()
        begin = body.find(b'"', end + 1)


def _keys_read(value: Any) -> Iterator[str]:
    """Every key of every object in `value`."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield from part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
