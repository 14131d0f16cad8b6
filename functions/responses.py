"""From values to HTTP: error class → status, envelopes, bodies and the headers that every answer carries."""

import math
from http import HTTPStatus

import orjson
from flask import Response

from common.context import RequestContext
from common.errors import (
    DeadlineExceeded,
    EmbeddingError,
    ImagesFailed,
    InvalidRequest,
    MethodNotAllowed,
    ModelLoading,
    ModelUnavailable,
    NotFound,
    Overloaded,
    ServiceError,
    TooLarge,
    Unauthorized,
    UnsupportedMediaType,
)
from common.schemas import HealthResponse

STATUS: dict[type[EmbeddingError], int] = {
    InvalidRequest: 400,
    Unauthorized: 401,
    NotFound: 404,
    MethodNotAllowed: 405,
    TooLarge: 413,
    UnsupportedMediaType: 415,
    ImagesFailed: 422,
    Overloaded: 429,
    ModelLoading: 503,
    ModelUnavailable: 503,
    DeadlineExceeded: 504,
    EmbeddingError: 500,
}
COMMON_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
INTERNAL = "an internal error; the log has it under this request's id"


def status_of(error: BaseException) -> int:
    """The HTTP status of an error's class or of its nearest ancestor that has one; 500 for foreign errors."""
    return next((STATUS[ancestor] for ancestor in type(error).__mro__ if ancestor in STATUS), 500)


def is_crash(error: BaseException | None) -> bool:
    """Whether an error is ours to mend: its trace belongs in the log."""
    return error is not None and status_of(error) == STATUS[EmbeddingError]


def write_json(value: object) -> Response:
    """200 with `value`, a dataclass whose arrays orjson writes as they are; 503 for a function that is not healthy."""
    unhealthy = isinstance(value, HealthResponse) and not value.model_loaded
    body = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, status=503 if unhealthy else 200, mimetype="application/json")


def write_problem(error: BaseException) -> Response:
    """An error as application/problem+json (RFC 9457). Foreign errors tell nothing of themselves."""
    status = status_of(error)
    problem: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": INTERNAL if status == HTTPStatus.INTERNAL_SERVER_ERROR else str(error),
        "code": error.code if isinstance(error, EmbeddingError) else EmbeddingError.code,
    }
    if isinstance(error, InvalidRequest) and error.errors:
        problem["errors"] = error.errors
    if isinstance(error, ImagesFailed):
        problem["errors"] = [
            {"loc": ["urls", item.index], "message": item.detail, "code": item.code} for item in error.items
        ]
    response = Response(orjson.dumps(problem), status=status, content_type="application/problem+json")
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, ServiceError) and error.retry_after_s is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if isinstance(error, Unauthorized):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def write_options(allowed: list[str]) -> Response:
    """The answer to OPTIONS."""
    return Response(status=204, headers={"Allow": ", ".join(allowed)})


def finish(response: Response, context: RequestContext) -> Response:
    """Add what every answer carries: request id, stage timings, protective headers."""
    for name, value in COMMON_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-Id"] = context.request_id
    response.headers["Server-Timing"] = context.server_timing()
    return response
