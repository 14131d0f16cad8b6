"""Writes answers: the status of each error class, bodies, and the headers of every answer."""

import gzip
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import responses
from itertools import compress

import orjson
from flask import Request, Response

from common.encoding import as_bytes
from common.errors import (
    Cancelled,
    DeadlineExceeded,
    EmbeddingError,
    ModelLoading,
    ModelNotFound,
    ModelUnavailable,
    Overloaded,
    ServiceError,
)
from functions.errors import (
    FingerprintMismatch,
    ImagesFailed,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    TooLarge,
    Unauthorized,
    UnsupportedMediaType,
)
from functions.request_record import RequestRecord

STATUS: dict[type[EmbeddingError], int] = {
    InvalidRequest: 400,
    Unauthorized: 401,
    NotFound: 404,
    ModelNotFound: 404,
    MethodNotAllowed: 405,
    FingerprintMismatch: 409,
    TooLarge: 413,
    UnsupportedMediaType: 415,
    ImagesFailed: 422,
    Overloaded: 429,
    ModelLoading: 503,
    ModelUnavailable: 503,
    DeadlineExceeded: 504,
    Cancelled: 499,
    EmbeddingError: 500,
}
COMMON_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
CORS_HEADERS = {
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-API-Key, X-Request-Id, "
    "X-Expect-Fingerprint",
    "Access-Control-Expose-Headers": "X-Request-Id, Server-Timing, Retry-After, X-Embedding-Count, "
    "X-Embedding-Dimensions, X-Embedding-Indices, X-Embedding-Fingerprint",
    "Access-Control-Max-Age": "3600",
}
_HEADER_NAMES = re.compile(r"[\w!#$%&'*+.^`|~-]+(\s*,\s*[\w!#$%&'*+.^`|~-]+){0,99}", re.ASCII)
FINGERPRINT = "X-Embedding-Fingerprint"
OK = 200
NO_CONTENT = 204
UNHEALTHY = 503
# nginx's status for the log and the metrics. Nobody reads this answer.
CALLER_GONE = "499 Caller Gone"
JSON = "application/json"
OCTETS = "application/octet-stream"
HTML = "text/html"


def phrase_of(status: int) -> str:
    """The reason phrase of a status."""
    known = {int(code): phrase for code, phrase in responses.items()}
    return known.get(status, "Caller Gone")  # http.client does not know nginx's 499


def status_of(error: BaseException) -> int:
    """The HTTP status of an error: that of its class or nearest ancestor with one, else 500."""
    return status_of_class(type(error))


def status_of_class(kind: type[BaseException]) -> int:
    """The HTTP status of an error class: its own, its nearest ancestor's, or 500."""
    return next((STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in STATUS), 500)


def is_crash(error: BaseException | None) -> bool:
    """Whether an error is a fault of this service, so that its trace belongs in the log."""
    return error is not None and status_of(error) == STATUS[EmbeddingError]


def write_json(value: object, _: Request) -> Response:
    """200 with `value` as JSON. `value` is a dataclass; its arrays may be numpy's."""
    return json_response(value)


def json_response(value: object, status: int = OK) -> Response:
    """An answer with `value` as JSON."""
    body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status=status, mimetype=JSON)


def write_nothing(_value: None, _request: Request) -> Response:
    """204 without a body."""
    return Response(status=NO_CONTENT)


def write_vectors(value: object, request: Request) -> Response:
    """JSON, or the rows as raw bytes if the caller prefers application/octet-stream."""
    rows = getattr(value, "embeddings", None)
    if rows is None or request.accept_mimetypes.best_match([JSON, OCTETS]) != OCTETS:
        return write_json(value, request)
    # Raw bytes cannot hold a None, so they leave failed images out, under `null` too.
    kept = [row is not None for row in rows]
    response = Response(as_bytes(rows), mimetype=OCTETS)
    response.headers["X-Embedding-Count"] = str(sum(kept))
    response.headers["X-Embedding-Dimensions"] = str(getattr(value, "dimensions", 0))
    indices = getattr(value, "indices", None)
    if indices is not None:
        response.headers["X-Embedding-Indices"] = ",".join(map(str, compress(indices, kept)))
    return response


@dataclass(frozen=True)
class File:
    """An answer that is not JSON. Its `headers` replace the default ones."""

    data: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    is_gzip: bool = False


def write_file(value: File, request: Request) -> Response:
    """200 with the file. It is decompressed for callers that do not accept gzip."""
    response = Response(value.data, content_type=value.content_type, headers=dict(value.headers))
    if value.is_gzip:
        response.vary.add("Accept-Encoding")
        if request.accept_encodings["gzip"]:
            response.content_encoding = "gzip"
        else:
            response.data = gzip.decompress(value.data)
    return response


def write_json_or(page: Callable[[], File]) -> Callable[[object, Request], Response]:
    """A writer of JSON that sends `page` to callers that prefer HTML, as browsers do."""

    def write(value: object, request: Request) -> Response:
        accepted = request.accept_mimetypes
        wants_page = accepted[HTML] > accepted[JSON]
        response = write_file(page(), request) if wants_page else write_json(value, request)
        response.vary.add("Accept")
        return response

    return write


def write_error_body(error: BaseException, body: object, content_type: str) -> Response:
    """An answer with `body`, the error's status and its headers."""
    response = Response(orjson.dumps(body), status=status_of(error), content_type=content_type)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, ServiceError) and error.retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, Unauthorized):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def name_fingerprint(response: Response, fingerprint: str | None) -> Response:
    """Add the fingerprint header to `response` if the fingerprint is given."""
    if fingerprint:
        response.headers[FINGERPRINT] = fingerprint
    return response


def write_options(allowed: list[str], requested_headers: str) -> Response:
    """The answer to OPTIONS, including a browser's preflight.

    Client libraries add headers of their own, which have no effect here. So the preflight allows
    all headers that the page asks for.
    """
    methods = ", ".join(allowed)
    headers = {"Allow": methods, "Access-Control-Allow-Methods": methods}
    if _HEADER_NAMES.fullmatch(requested_headers):
        headers["Access-Control-Allow-Headers"] = requested_headers
    response = Response(status=204, headers=headers)
    response.vary.add("Access-Control-Request-Headers")
    return response


def finish(
    response: Response, record: RequestRecord, origin: str, allowed_origins: Sequence[str]
) -> Response:
    """Add the headers of every answer: request id, timings, security headers and CORS."""
    if allowed_origins:
        response.headers.add("Vary", "Origin")
    if origin and (origin in allowed_origins or "*" in allowed_origins):
        response.headers["Access-Control-Allow-Origin"] = origin
        for name, value in CORS_HEADERS.items():
            response.headers.setdefault(name, value)
    else:
        response.headers.pop("Access-Control-Allow-Methods", None)
        response.headers.pop("Access-Control-Allow-Headers", None)
    for name, value in COMMON_HEADERS.items():
        response.headers.setdefault(name, value)
    if record.allowance.cancellation.cancelled:
        response.status = CALLER_GONE
    response.headers["X-Request-Id"] = record.request_id
    response.headers["Server-Timing"] = record.server_timing()
    return response
