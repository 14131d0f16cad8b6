"""Reads a request body within the limits and validates it against its model.

Flask's own readers accept duplicate keys, and under functions-framework their 413 and 415 become
HTML or a 500. So this module reads bodies itself.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Request
from pydantic import BaseModel
from werkzeug.exceptions import ClientDisconnected
from werkzeug.wsgi import get_input_stream

from common.allowance import Allowance
from common.errors import DeadlineExceeded
from functions import strict_json
from functions.connection import Connection
from functions.errors import InvalidRequest, TooLarge, UnsupportedMediaType
from functions.field_errors import kind_of, validate
from functions.forms import FORM, read_form, read_single_fields
from functions.schemas import MAX_BODY_BYTES
from functions.unpacking import check_coding, unpack

Body = TypeVar("Body", bound=BaseModel)

JSON_TYPES = ("", "application/json", "text/json")  # and every one that ends with +json
TOO_SLOW = "the request body did not arrive in time"
TOO_LATE = "the request's time ran out before the service could start on it; try again"


def read_body(request: Request, allowance: Allowance) -> bytes:
    """The request body, unpacked if it is gzip. Packed and unpacked at most MAX_BODY_BYTES.

    Raises TooLarge; UnsupportedMediaType for another Content-Encoding; InvalidRequest for a body
    that ends early or is not gzip; DeadlineExceeded for a body that does not arrive in the
    request's time; Overloaded if there is no memory to unpack it.
    """
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if coding in ("", "identity"):
        return _read_as_sent(request, allowance)
    check_coding(coding)
    connection = request.environ.get("gunicorn.socket")
    reserve = connection.reserve if isinstance(connection, Connection) else _always
    body = unpack(_read_as_sent(request, allowance), MAX_BODY_BYTES, reserve)
    if len(body) > MAX_BODY_BYTES:
        raise _too_large(f"more than {MAX_BODY_BYTES:,} bytes when unpacked")
    return body


def _always(_: int) -> bool:
    return True


def _read_as_sent(request: Request, allowance: Allowance) -> bytes:
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise _too_large(f"{request.content_length:,} bytes")
    try:
        # A chunked body does not say its length, so one byte more than the limit is read.
        body = get_input_stream(request.environ).read(MAX_BODY_BYTES + 1)
        is_whole = len(body) >= (request.content_length or 0)
    except TimeoutError as error:
        raise DeadlineExceeded(TOO_SLOW) from error
    except (ClientDisconnected, OSError):
        is_whole = False
    if allowance.is_over:
        raise DeadlineExceeded(TOO_LATE if is_whole else TOO_SLOW)
    if not is_whole:
        raise InvalidRequest(
            "the request body is incomplete: it ends before its Content-Length or its last chunk, "
            "or a chunk is malformed"
        )
    if len(body) > MAX_BODY_BYTES:
        raise _too_large(f"more than {MAX_BODY_BYTES:,} bytes")
    return body


def _too_large(size: str) -> TooLarge:
    return TooLarge(f"the request body has {size}, the limit is {MAX_BODY_BYTES:,}")


def parse_json(request: Request, model: type[Body], allowance: Allowance) -> Body:
    """The JSON body as `model`.

    Raises InvalidRequest that names each wrong field; TooLarge; UnsupportedMediaType.
    """
    if request.mimetype not in JSON_TYPES and not request.mimetype.endswith("+json"):
        raise UnsupportedMediaType(
            f"the content type {request.mimetype[:100]!r} is not supported; send application/json"
        )
    charset = request.mimetype_params.get("charset", "")
    value = strict_json.loads(_read(request, allowance), charset)
    if not isinstance(value, dict):
        raise InvalidRequest(f"the body is {kind_of(value)}, expected a JSON object")
    read: Body = validate(value, model)
    return read


def parse_json_or_form(form: type[BaseModel]) -> Callable[[Request, type[Body], Allowance], Any]:
    """A parser like parse_json that also reads a multipart form, as `form`."""

    def parse(request: Request, model: type[Body], allowance: Allowance) -> Any:
        if request.mimetype != FORM:
            return parse_json(request, model, allowance)
        return validate(read_form(request, _read(request, allowance)), form)

    return parse


def read_fields(request: Request, allowance: Allowance) -> dict[str, Any]:
    """The fields of a multipart form, each given once. Files are ImageBytes.

    Raises InvalidRequest; TooLarge; UnsupportedMediaType if the body is not a form.
    """
    if request.mimetype != FORM:
        raise UnsupportedMediaType(
            f"the content type {request.mimetype[:100]!r} is not supported; send {FORM}"
        )
    return read_single_fields(request, _read(request, allowance))


def _read(request: Request, allowance: Allowance) -> bytes:
    """The body as read_body gives it. TooLarge also advises to split the request."""
    try:
        return read_body(request, allowance)
    except TooLarge as error:
        what = "files" if request.mimetype == FORM else "items"
        raise TooLarge(f"{error}; split the {what} over several requests") from error
