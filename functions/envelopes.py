"""Writes errors in the shape of each protocol. The function's own shape is RFC 9457."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flask import Response

from common.errors import EmbeddingError
from functions.errors import FieldError, ImagesFailed, InvalidRequest
from functions.responses import JSON, is_crash, phrase_of, status_of, write_error_body

INTERNAL = "internal error; quote the X-Request-Id of this answer when you report it"


@dataclass(frozen=True)
class Envelope:
    """A shape of errors: `fill` turns an error into a `body`."""

    body: type
    fill: Callable[[BaseException], object]
    content_type: str = JSON

    def write(self, error: BaseException) -> Response:
        """The answer for `error`."""
        return write_error_body(error, self.fill(error), self.content_type)


@dataclass(frozen=True)
class FailedImage:
    """An image that made the whole request fail. `loc` is its path in the request."""

    loc: Sequence[str | int]
    message: str
    code: str


@dataclass(frozen=True)
class Problem:
    """A problem as RFC 9457 defines it.

    `code` is stable; `detail` is for people. `errors` has an entry for each wrong field or image.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: Sequence[FieldError | FailedImage] = ()


def message_of(error: BaseException) -> str:
    """The message for the caller. Unexpected errors reveal nothing about themselves."""
    return INTERNAL if is_crash(error) else str(error)


def code_of(error: BaseException) -> str:
    """The stable code of an error. Unexpected errors have EmbeddingError's."""
    return error.code if isinstance(error, EmbeddingError) else EmbeddingError.code


def _problem(error: BaseException) -> Problem:
    status = status_of(error)
    errors: Sequence[FieldError | FailedImage] = ()
    if isinstance(error, InvalidRequest):
        errors = error.errors
    if isinstance(error, ImagesFailed):
        errors = [
            FailedImage(loc, item.detail, item.code)
            for loc, item in zip(error.locs, error.items, strict=True)
        ]
    return Problem(
        "about:blank", phrase_of(status), status, message_of(error), code_of(error), errors
    )


PROBLEM = Envelope(Problem, _problem, "application/problem+json")
