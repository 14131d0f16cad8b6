"""Request bodies: read within bounds, strict JSON, errors that name the field, the value's kind and the limit."""

import io

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from common.allowance import Allowance
from common.errors import InvalidRequest, TooLarge, UnsupportedMediaType
from functions.bodies import Body, parse_json, read_body
from functions.image import ImageRequest
from functions.mixed import MixedRequest
from functions.schemas import MAX_BODY_BYTES
from functions.text import TextRequest


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
    environ = EnvironBuilder(method="POST", headers=[("Transfer-Encoding", "chunked")]).get_environ()
    environ.pop("CONTENT_LENGTH", None)
    environ |= {"wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True, "CONTENT_TYPE": "application/json"}
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
        ('{"texts": ["\\ud800"]}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"texts": ["a"], "texts": ["b"]}', 'the key "texts" stands twice in one object'),
        ("{}", "texts is required"),
        ('{"texts": []}', "texts is empty, at least one is needed"),
        ('{"texts": "a"}', "texts is a string, expected a list"),
        ('{"texts": null}', "texts is null, expected a list"),
        ('{"texts": ["a", 3]}', "texts[1] is a number, expected a string"),
        ('{"texts": [true]}', "texts[0] is a boolean, expected a string"),
        ('{"texts": [1e999]}', "not valid JSON"),
        ('{"text": ["a"], "texts": ["a"]}', "text is not a field of this request, which has"),
        ('{"texts": ["a"], "encoding_format": "hex"}', "encoding_format is \"hex\", expected 'float' or 'base64'"),
        ('{"texts": ["a"], "output_dtype": "float16"}', 'output_dtype "float16" needs encoding_format "base64"'),
    ],
)
def test_a_bad_body_is_refused_with_words_that_help(body: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse(request(body), TextRequest)
    assert message in str(raised.value)


def test_invalid_utf8_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        parse(request(b'{"texts": ["\xff"]}'), TextRequest)


def test_limits_are_named_with_the_value_and_the_limit() -> None:
    with pytest.raises(InvalidRequest, match=r"texts has 2,049 items, the limit is 2,048"):
        parse(request('{"texts": [' + ",".join(['"a"'] * 2049) + "]}"), TextRequest)
    with pytest.raises(InvalidRequest, match=r"urls has 257 items, the limit is 256"):
        parse(request('{"urls": [' + ",".join(['"a"'] * 257) + "]}"), ImageRequest)
    with pytest.raises(InvalidRequest, match=r"texts\[0\] has 100,001 characters, the limit is 100,000"):
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
    with pytest.raises(UnsupportedMediaType, match="without Content-Encoding"):
        parse(request("{}", Content_Encoding="gzip"), TextRequest)


def test_a_body_over_the_limit_is_refused_with_and_without_a_length() -> None:
    too_much = b" " * (MAX_BODY_BYTES + 1)
    with pytest.raises(TooLarge, match=r"33,554,433 bytes, the limit is 33,554,432"):
        read(request(too_much))
    with pytest.raises(TooLarge, match=r"more than 33,554,432 bytes"):
        read(chunked(too_much))
