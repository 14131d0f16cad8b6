"""Errors in the shape that a protocol's clients read, and the function's own shape."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flask import Response

from common.errors import EmbeddingError
from functions.errors import FieldError, ImagesFailed, InvalidRequest
from functions.responses import JSON, is_crash, phrase_of, status_of, write_error_body

INTERNAL = "an internal error; the log has it under this request's id"


@dataclass(frozen=True)
class Envelope:
    """A shape of errors: `body` is what `fill` makes of one."""

    body: type
    fill: Callable[[BaseException], object]
    content_type: str = JSON

    def write(self, error: BaseException) -> Response:
        """The error's answer."""
        return write_error_body(error, self.fill(error), self.content_type)


@dataclass(frozen=True)
class FailedImage:
    """An image that made the whole request fail; `loc` is the path to it."""

    loc: Sequence[str | int]
    message: str
    code: str


@dataclass(frozen=True)
class Problem:
    """A problem (RFC 9457). `code` is stable, `detail` for people; `errors` names each field or image that is wrong."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: Sequence[FieldError | FailedImage] = ()


def message_of(error: BaseException) -> str:
    """What may be told of an error: foreign ones tell nothing of themselves."""
    return INTERNAL if is_crash(error) else str(error)


def code_of(error: BaseException) -> str:
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
