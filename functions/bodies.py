"""From HTTP to values: read a request's body within bounds and check it against its model.

Flask's own readers are not used: under functions-framework their 413 and 415 become HTML or a 500, and they accept
duplicate keys.
"""

import base64
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, TypeVar

import orjson
from flask import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from werkzeug.exceptions import ClientDisconnected, HTTPException
from werkzeug.formparser import FormDataParser
from werkzeug.wsgi import get_input_stream

from common.allowance import Allowance
from common.errors import DeadlineExceeded, FieldError, InvalidRequest, TooLarge, UnsupportedMediaType
from functions.schemas import MAX_BODY_BYTES

Body = TypeVar("Body", bound=BaseModel)

MAX_VALUES = 100_000  # in one body: 32 MiB of `[],` would become 700 MB of lists
# A string of JSON, with the colon that makes it a key. One that never ends goes to the end: no place is read twice.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"\s*+(:)?|\\?\Z)', re.DOTALL)
FORM = "multipart/form-data"
MAX_PARTS = 300  # of a form
MAX_REPORTED = 20  # field errors in one answer
_KINDS = {
    "str": "a string",
    "int": "a number",
    "float": "a number",
    "bool": "a boolean",
    "list": "a list",
    "dict": "an object",
    "NoneType": "null",
}
_EXPECTED = {
    "string_type": "a string",
    "list_type": "a list",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


def read_body(request: Request, allowance: Allowance) -> bytes:
    """The body, at most MAX_BODY_BYTES.

    Raises TooLarge, UnsupportedMediaType for a Content-Encoding, InvalidRequest for a body that ends early,
    DeadlineExceeded for one that does not come in the request's time.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("a compressed request body is not read; send it without Content-Encoding")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise _too_large(f"{request.content_length:,} bytes")
    try:
        body = get_input_stream(request.environ).read(MAX_BODY_BYTES + 1)  # a chunked body has no length to trust
        is_whole = len(body) >= (request.content_length or 0)
    except (ClientDisconnected, OSError):
        is_whole = False
    if allowance.is_over:
        raise DeadlineExceeded("the request's body did not come in time")
    if not is_whole:
        raise InvalidRequest("the body ends before its Content-Length or its last chunk, or its chunks are broken")
    if len(body) > MAX_BODY_BYTES:
        raise _too_large(f"more than {MAX_BODY_BYTES:,} bytes")
    return body


def _too_large(size: str) -> TooLarge:
    return TooLarge(f"the request body has {size}, the limit is {MAX_BODY_BYTES:,}")


def parse_json(request: Request, model: type[Body], allowance: Allowance) -> Body:
    """The body as `model`. Raises InvalidRequest naming each bad field, TooLarge, UnsupportedMediaType."""
    if request.mimetype not in ("", "application/json") and not request.mimetype.endswith("+json"):
        raise UnsupportedMediaType(f"the content type {request.mimetype[:100]!r} is not read; send application/json")
    value = _loads(read_body(request, allowance))
    if not isinstance(value, dict):
        raise InvalidRequest(f"the body is {_kind(value)}, expected a JSON object")
    return validate(value, model)


def parse_json_or_files(request: Request, model: type[Body], allowance: Allowance) -> Body:
    """As parse_json; of a multipart form the `files` become data: URLs, the other parts fields."""
    if request.mimetype != FORM:
        return parse_json(request, model, allowance)
    body = read_body(request, allowance)
    parser = FormDataParser(stream_factory=lambda *_, **__: io.BytesIO(), max_form_parts=MAX_PARTS, silent=False)
    try:
        _, form, files = parser.parse(io.BytesIO(body), request.mimetype, len(body), request.mimetype_params)
    except (ValueError, HTTPException) as error:
        raise InvalidRequest(f"the form could not be read, or has more than {MAX_PARTS} parts") from error
    unknown = sorted({name for name in files if name != "files"})
    if unknown or not files:
        raise InvalidRequest(f'the form has files under {_shown(", ".join(unknown))}, expected files under "files"')
    del body  # a copy less while there are others
    urls = [_data_url(file.read(), file.mimetype) for file in files.getlist("files")]
    return validate({**form, "urls": urls}, model)


def form_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of the form that parse_json_or_files reads in place of `model`."""
    octets = {"type": "string", "contentMediaType": "application/octet-stream"}
    others = {name: {"type": "string"} for name in model.model_fields if name != "urls"}
    properties = {"files": {"type": "array", "items": octets}, **others}
    return {"type": "object", "properties": properties, "required": ["files"]}


def _data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def validate(value: dict[str, Any], model: type[Body]) -> Body:
    """`value` as `model`. Raises InvalidRequest naming each bad field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        errors = [_field_error(details, model) for details in error.errors(include_url=False)[:MAX_REPORTED]]
        raise InvalidRequest(
            "; ".join(f"{field.path} {field.message}".strip() for field in errors[:3]), errors
        ) from error


def _loads(body: bytes) -> Any:
    """Strict JSON: orjson refuses bad UTF-8, lone surrogates, NaN and deep nesting; duplicate keys are refused here."""
    if not body.strip():
        raise InvalidRequest("the body is empty, expected a JSON object")
    if body.count(b",") > MAX_VALUES and _has_too_many_values(body):
        raise InvalidRequest(f"the body has more than {MAX_VALUES:,} values")
    try:
        value = orjson.loads(body)
    except ValueError as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidRequest(f"the body is not valid JSON{where}") from error
    twice = Counter(_keys_written(body)) - Counter(_keys_read(value))
    if twice:
        raise InvalidRequest(f"the key {_shown(next(iter(twice)))} stands twice in one object")
    return value


def _has_too_many_values(body: bytes) -> bool:
    """By the commas and strings outside of strings; stops where it knows."""
    commas, start = 0, 0
    for strings, string in enumerate(_STRING.finditer(body)):
        commas += body.count(b",", start, string.start())
        start = string.end()
        if max(commas, strings // 2) > MAX_VALUES:  # a value may have a key
            return True
    return commas + body.count(b",", start) > MAX_VALUES


def _keys_written(body: bytes) -> Iterator[str]:
    """Each key as often as it stands in `body`, which is valid JSON. orjson keeps the last of equal keys silently."""
    for string in _STRING.finditer(body):
        if string[1]:
            key: str = orjson.loads(string[0].rstrip(b": \t\r\n"))
            yield key


def _keys_read(value: Any) -> Iterator[str]:
    """Each key as often as there is an object that has it."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield from part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def _field_error(details: ErrorDetails, model: type[BaseModel]) -> FieldError:
    """One of pydantic's errors in words that name the value's kind and the limit."""
    loc, kind, context, value = details["loc"], details["type"], details.get("ctx", {}), details["input"]
    if kind == "missing":
        message = "is required"
    elif kind == "extra_forbidden":
        message = f"is not a field of this request, which has {', '.join(model.model_fields)}"
    elif kind == "too_long":
        message = f"has {context['actual_length']:,} items, the limit is {context['max_length']:,}"
    elif kind in ("too_short", "string_too_short"):
        message = "is empty, at least one is needed" if kind == "too_short" else "is an empty string"
    elif kind == "string_too_long":
        message = f"has {len(value):,} characters, the limit is {context['max_length']:,}"
    elif kind == "literal_error":
        message = f"is {_shown(value) if isinstance(value, str) else _kind(value)}, expected {context['expected']}"
    elif kind == "value_error":
        message = str(context["error"])
    else:
        message = f"is {_kind(value)}, expected {_EXPECTED.get(kind, kind)}"
    return FieldError(tuple(_shown_part(part) for part in loc), message)


def _kind(value: object) -> str:
    return _KINDS.get(type(value).__name__, type(value).__name__)


def _shown_part(part: str | int) -> str | int:
    return part if isinstance(part, int) else part[:100]


def _shown(value: str) -> str:
    return json.dumps(value[:100], ensure_ascii=False)
