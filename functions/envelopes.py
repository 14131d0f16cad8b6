"""Errors in the shape that each protocol's clients read."""

from http import HTTPStatus

from flask import Response

from common.errors import ImagesFailed, InvalidRequest
from functions.responses import code_of, message_of, status_of, write_error_body

MAX_BIGQUERY_CHARS = 900  # BigQuery shows at most 1 KB
SERVER_ERROR = "server_error"
OPENAI_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}


def write_problem(error: BaseException) -> Response:
    """application/problem+json (RFC 9457)."""
    status = HTTPStatus(status_of(error))
    problem: dict[str, object] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": message_of(error),
        "code": code_of(error),
    }
    if isinstance(error, InvalidRequest) and error.errors:
        problem["errors"] = error.errors
    if isinstance(error, ImagesFailed):
        problem["errors"] = [
            {"loc": [error.field, item.index], "message": item.detail, "code": item.code} for item in error.items
        ]
    return write_error_body(error, problem, "application/problem+json")


def write_openai_error(error: BaseException) -> Response:
    """OpenAI's `{"error": {"message", "type", "param", "code"}}`."""
    status = HTTPStatus(status_of(error))
    kind = OPENAI_TYPES.get(
        status, "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    )
    param = None
    if isinstance(error, ImagesFailed):
        param = f"{error.field}[{error.items[0].index}]"
    elif isinstance(error, InvalidRequest) and error.errors:
        param = error.errors[0].path
    body = {"message": message_of(error), "type": kind, "param": param, "code": code_of(error)}
    return write_error_body(error, {"error": body})


def write_weaviate_error(error: BaseException) -> Response:
    """Weaviate's `{"error": "…"}`."""
    return write_error_body(error, {"error": message_of(error)})


def write_bigquery_error(error: BaseException) -> Response:
    """BigQuery's `{"errorMessage": "…"}`."""
    return write_error_body(error, {"errorMessage": message_of(error)[:MAX_BIGQUERY_CHARS]})
