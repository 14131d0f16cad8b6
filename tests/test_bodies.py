"""Request bodies: bounded reads, strict JSON, and errors that name the field and the limit."""

import gzip
import io
from typing import Any

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from common.allowance import Allowance
from common.errors import Overloaded
from common.items import ImageBytes, ImageUrl
from functions.bodies import Body, parse_json, read_body
from functions.connection import Budget
from functions.errors import InvalidRequest, TooLarge, UnsupportedMediaType
from functions.image import ImageRequest
from functions.mixed import MixedRequest
from functions.schemas import MAX_BODY_BYTES
from functions.text import TextRequest
from functions.unpacking import unpack
from tests.spoken import ROUTES


def request(body: bytes | str, content_type: str = "application/json", **headers: str) -> Request:
    data = body.encode() if isinstance(body, str) else body
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    builder = EnvironBuilder(method="POST", data=data, content_type=content_type, headers=named)
    return Request(builder.get_environ())


def parse(given: Request, model: type[Body]) -> Body:
    return parse_json(given, model, Allowance())


def read(given: Request) -> bytes:
    return read_body(given, Allowance())


def chunked(body: bytes) -> Request:
    environ = EnvironBuilder(
        method="POST", headers=[("Transfer-Encoding", "chunked")]
    ).get_environ()
    environ.pop("CONTENT_LENGTH", None)
    environ |= {
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "CONTENT_TYPE": "application/json",
    }
    return Request(environ)


def test_a_good_body_becomes_its_model() -> None:
    body = parse(request('{"texts": ["a fox", "狐"]}'), TextRequest)
    assert body.texts == ["a fox", "狐"]
    assert body.encoding_format == "float"


def test_a_body_without_a_content_type_is_taken_for_json() -> None:
    assert parse(request('{"texts": ["a"]}', content_type=""), TextRequest).texts == ["a"]


def test_a_chunked_body_is_read() -> None:
    assert parse(chunked(b'{"texts": ["a"]}'), TextRequest).texts == ["a"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "the body is empty, expected a JSON object"),
        ("   ", "the body is empty, expected a JSON object"),
        ("{", "not valid JSON at character"),
        ('{"texts": ["a"]', "not valid JSON"),
        ('["a"]', "the body is a list, expected a JSON object"),
        ('"a"', "the body is a string, expected a JSON object"),
        ("null", "the body is null, expected a JSON object"),
        ('{"texts": [NaN]}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"texts": ["a"], "texts": ["b"]}', 'the key "texts" appears twice in one object'),
        ("{}", "texts is required"),
        ('{"texts": []}', "texts is empty, at least one item is required"),
        ('{"texts": "a"}', "texts is a string, expected a list"),
        ('{"texts": null}', "texts is null, expected a list"),
        ('{"texts": ["a", 3]}', "texts[1] is a number, expected a string"),
        ('{"texts": [true]}', "texts[0] is a boolean, expected a string"),
        ('{"texts": [1e999]}', "not valid JSON"),
        ('{"text": ["a"], "texts": ["a"]}', "text is not a known field; the fields are"),
        (
            '{"texts": ["a"], "encoding_format": "hex"}',
            "encoding_format is \"hex\", expected 'float' or 'base64'",
        ),
        (
            '{"texts": ["a"], "output_dtype": "float16"}',
            'output_dtype "float16" needs encoding_format "base64"',
        ),
    ],
)
def test_a_bad_body_is_refused_with_words_that_help(body: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(request(body), TextRequest)
    assert message in str(raised.value)


def test_invalid_utf8_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not UTF-8"):
        parse(request(b'{"texts": ["\xff"]}'), TextRequest)


def test_limits_are_named_with_the_value_and_the_limit() -> None:
    with pytest.raises(InvalidRequest, match=r"texts has 2,049 items, the limit is 2,048"):
        parse(request('{"texts": [' + ",".join(['"a"'] * 2049) + "]}"), TextRequest)
    with pytest.raises(InvalidRequest, match=r"urls has 257 items, the limit is 256"):
        parse(request('{"urls": [' + ",".join(['"a"'] * 257) + "]}"), ImageRequest)
    with pytest.raises(
        InvalidRequest, match=r"texts\[0\] has 100,001 characters, the limit is 100,000"
    ):
        parse(request('{"texts": ["' + "a" * 100_001 + '"]}'), TextRequest)


def test_every_bad_field_is_listed() -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(request('{"texts": [1, "a", 2], "on_error": "retry"}'), MixedRequest)
    places = {error.loc for error in raised.value.errors}
    assert places == {("texts", 0), ("texts", 2), ("on_error",)}


def test_a_mixed_request_needs_something_to_embed() -> None:
    for body in ("{}", '{"texts": [], "urls": []}'):
        with pytest.raises(InvalidRequest, match="nothing to embed: give texts, urls, or both"):
            parse(request(body), MixedRequest)
    assert parse(request('{"urls": ["https://example.com/a.png"]}'), MixedRequest).texts == []


def test_other_media_types_are_refused() -> None:
    for content_type in ("text/html", "application/x-www-form-urlencoded", "image/png"):
        with pytest.raises(UnsupportedMediaType, match=content_type):
            parse(request("{}", content_type=content_type), TextRequest)
    for coding in ("br", "deflate", "gzip, gzip"):
        with pytest.raises(UnsupportedMediaType, match=f"'{coding}' is not supported; .* gzip"):
            parse(request("{}", Content_Encoding=coding), TextRequest)


@pytest.mark.parametrize("content_type", ["text/json", "application/vnd.api+json; charset=utf-8"])
def test_json_by_any_of_its_media_types_is_read(content_type: str) -> None:
    assert parse(request('{"texts": ["a"]}', content_type), TextRequest).texts == ["a"]


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP"])
def test_a_gzip_body_is_unpacked(coding: str) -> None:
    packed = gzip.compress(b'{"texts": ["a fox"]}')
    assert parse(request(packed, Content_Encoding=coding), TextRequest).texts == ["a fox"]
    assert read(request(b"{}", Content_Encoding="identity")) == b"{}"


@pytest.mark.parametrize(
    "packed",
    [b"{}", b"", gzip.compress(b"{}")[:-4], gzip.compress(b"{}") + gzip.compress(b"{}")],
    ids=["plain", "empty", "ends early", "two members"],
)
def test_a_body_that_is_not_the_gzip_that_it_says_is_refused(packed: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not valid gzip"):
        read(request(packed, Content_Encoding="gzip"))


def test_a_gzip_body_is_unpacked_no_further_than_the_limit_and_the_memory() -> None:
    bomb = gzip.compress(bytes(MAX_BODY_BYTES + 1), 1)
    with pytest.raises(TooLarge, match="more than 33,554,432 bytes when unpacked"):
        read(request(bomb, Content_Encoding="gzip"))
    assert len(unpack(gzip.compress(bytes(MAX_BODY_BYTES), 1), MAX_BODY_BYTES, Budget(2**25).take))
    budget = Budget(2**21)
    with pytest.raises(Overloaded, match="no memory is free"):
        unpack(bomb, MAX_BODY_BYTES, budget.take)
    assert not budget.take(1), "two pieces were reserved, and the third was not unpacked further"


def test_a_body_over_the_limit_is_refused_with_and_without_a_length() -> None:
    too_much = b" " * (MAX_BODY_BYTES + 1)
    with pytest.raises(TooLarge, match=r"33,554,433 bytes, the limit is 33,554,432"):
        read(request(too_much))
    with pytest.raises(TooLarge, match=r"more than 33,554,432 bytes"):
        read(chunked(too_much))


BOUNDARY = "x"
ROUTE = next(route.body for route in ROUTES if route.path == "/embed/image" and route.body)


def part(name: str | None, value: bytes, filename: str | None = None) -> bytes:
    named = "" if name is None else f'; name="{name}"'
    of_file = "" if filename is None else f'; filename="{filename}"'
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data{named}{of_file}\r\n\r\n"
    return head.encode() + value + b"\r\n"


def parse_form(*parts: bytes) -> Any:
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    given = request(body, content_type=f"multipart/form-data; boundary={BOUNDARY}")
    return ROUTE.parse(given, ROUTE.model, Allowance())


def test_a_form_holds_files_as_bytes_with_their_names_before_its_urls() -> None:
    form = parse_form(
        part("urls", b"https://example.com/a.png"),
        part("files", b"\x89PNG\xff", "fox.png"),
        part("on_error", b"null"),
        part("urls", b" https://example.com/b.png"),
        part("files", b"", "empty"),
        part("files", b"GIF", ""),
    )
    assert form.images() == [
        ImageBytes(b"\x89PNG\xff", "fox.png"),
        ImageBytes(b"", "empty"),
        ImageBytes(b"GIF", "files[2]"),
        ImageUrl("https://example.com/a.png"),
        ImageUrl("https://example.com/b.png"),
    ]
    assert form.on_error == "null"
    assert [form.place(index) for index in (2, 3, 4)] == [("files", 2), ("urls", 0), ("urls", 1)]


def test_a_form_may_hold_urls_alone() -> None:
    assert parse_form(part("urls", b"gs://b/o")).images() == [ImageUrl("gs://b/o")]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], "the form has no images"),
        ([part("on_error", b"null")], "the form has no images"),
        ([part("files", b"GIF")], 'a part "files" has no file name'),
        ([part("pictures", b"GIF", "a.gif")], 'the file "a.gif" is in the field "pictures"'),
        ([part(None, b"GIF", "a.gif")], "a part of the form has no name"),
        ([part(None, b"GIF")], "a part of the form has no name"),
        ([part("files", b"GIF", "a"), part("colour", b"red")], "colour is not a known field"),
        ([part("urls", b"")], "urls[0] is an empty string"),
        (
            [part("urls", b"a"), part("on_error", b"null"), part("on_error", b"fail")],
            'the field "on_error" is given twice',
        ),
        (
            [part("files", b"GIF", "a")] * 300,
            "the form has 300 files and 0 urls, the limit is 256 images",
        ),
        (
            [part("files", b"GIF", "a")] * 256 + [part("urls", b"b")],
            "the form has 256 files and 1 urls, the limit is 256 images",
        ),
        ([part("files", b"GIF", "a")] * 2100, "more than 2,048 parts; one request takes 256"),
    ],
)
def test_a_bad_form_is_refused_with_words_that_help(parts: list[bytes], words: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_form(*parts)
    assert words in str(raised.value)


def test_a_body_that_is_too_large_is_told_how_to_split_it() -> None:
    with pytest.raises(TooLarge, match=r"limit is 33,554,432; split the files over several"):
        parse_form(*[part("files", b"a" * 5_000_000, f"{number}.jpg") for number in range(7)])
    with pytest.raises(TooLarge, match="split the items over several requests"):
        parse(request(b" " * (MAX_BODY_BYTES + 1)), TextRequest)
