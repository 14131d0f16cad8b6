"""Errors in the shape that each protocol's clients read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from flask import Response

from common.errors import EmbeddingError, FieldError, ImagesFailed, InvalidRequest
from functions.responses import JSON, is_crash, phrase_of, status_of, write_error_body

INTERNAL = "an internal error; the log has it under this request's id"
MAX_BIGQUERY_CHARS = 900  # BigQuery shows at most 1 KB
OPENAI_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}


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


@dataclass(frozen=True)
class OpenAIFault:
    """`param` is the path to what is wrong."""

    message: str
    type: str
    param: str | None
    code: str


@dataclass(frozen=True)
class OpenAIError:
    """The shape of OpenAI's errors."""

    error: OpenAIFault


@dataclass(frozen=True)
class WeaviateError:
    """The shape of errors of Weaviate's inference protocol."""

    error: str


@dataclass(frozen=True)
class BigQueryError:
    """The shape of a BigQuery remote function's errors."""

    errorMessage: str  # noqa: N815 - the protocol's name


def _message_of(error: BaseException) -> str:
    """What may be told of an error: foreign ones tell nothing of themselves."""
    return INTERNAL if is_crash(error) else str(error)


def _code_of(error: BaseException) -> str:
    return error.code if isinstance(error, EmbeddingError) else EmbeddingError.code


def _problem(error: BaseException) -> Problem:
    status = status_of(error)
    errors: Sequence[FieldError | FailedImage] = ()
    if isinstance(error, InvalidRequest):
        errors = error.errors
    if isinstance(error, ImagesFailed):
        errors = [FailedImage((error.field, item.index), item.detail, item.code) for item in error.items]
    return Problem("about:blank", phrase_of(status), status, _message_of(error), _code_of(error), errors)


def _openai_error(error: BaseException) -> OpenAIError:
    status = status_of(error)
    kind = OPENAI_TYPES.get(
        status, "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    )
    param = None
    if isinstance(error, ImagesFailed):
        param = f"{error.field}[{error.items[0].index}]"
    elif isinstance(error, InvalidRequest) and error.errors:
        param = error.errors[0].path
    return OpenAIError(OpenAIFault(_message_of(error), kind, param, _code_of(error)))


PROBLEM = Envelope(Problem, _problem, "application/problem+json")
OPENAI = Envelope(OpenAIError, _openai_error)
WEAVIATE = Envelope(WeaviateError, lambda error: WeaviateError(_message_of(error)))
BIGQUERY = Envelope(BigQueryError, lambda error: BigQueryError(_message_of(error)[:MAX_BIGQUERY_CHARS]))
