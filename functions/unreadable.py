"""Answers requests that gunicorn's parser cannot read, in the shape of the other errors."""

import logging
from http import HTTPStatus

import orjson
from gunicorn.http import errors

from functions.envelopes import INTERNAL, PROBLEM, Problem

REASONS: dict[type[Exception], str] = {
    errors.InvalidRequestLine: "its first line is malformed",
    errors.InvalidRequestMethod: "its method is malformed",
    errors.InvalidHTTPVersion: "the service supports HTTP/1.1 and HTTP/1.0",
    errors.InvalidHeader: "a header is malformed",
    errors.InvalidHeaderName: "a header's name is malformed",
    errors.ObsoleteFolding: "a header continues on a second line",
    errors.UnsupportedTransferCoding: "its Transfer-Encoding is not supported",
    errors.LimitRequestLine: "its URL is too long",
    errors.LimitRequestHeaders: "its headers are too many or too long",
}
STATUSES: dict[type[Exception], HTTPStatus] = {
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
}

log = logging.getLogger(__name__)


def answer_to(error: Exception) -> bytes:
    """The whole answer. The connection has to close after it.

    Neither the answer nor the log holds bytes of the request, which may contain secrets.
    """
    status, detail, code = HTTPStatus.BAD_REQUEST, INTERNAL, "invalid_request"
    if isinstance(error, errors.ParseException):
        status = STATUSES.get(type(error), status)
        reason = REASONS.get(type(error), "it is not valid HTTP")
        detail = f"the service cannot read this request: {reason}"
        log.warning("unreadable request", extra={"status": status.value, "reason": reason})
    else:
        status, code = HTTPStatus.INTERNAL_SERVER_ERROR, "internal"
        log.error("a connection failed", exc_info=error)
    problem = Problem("about:blank", status.phrase, status.value, detail, code)
    body = orjson.dumps(problem)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n"
        f"Content-Type: {PROBLEM.content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
