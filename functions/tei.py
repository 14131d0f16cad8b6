"""The API of Text Embeddings Inference, Hugging Face's server: POST /embed."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import BeforeValidator

from common.encoding import Rows
from common.items import Text
from functions import schemas
from functions.call import Call
from functions.envelopes import Envelope, message_of
from functions.examples import Example
from functions.model_names import check_dimensions
from functions.responses import status_of
from functions.route import TEXT_ERRORS, Answer, Body, Protocol, Route

ERROR_TYPES = {
    HTTPStatus.TOO_MANY_REQUESTS: "overloaded",
    HTTPStatus.SERVICE_UNAVAILABLE: "unhealthy",
}


def _capitalised(value: object) -> object:
    """Clients write `right` or `Right`. Generators refuse an enum with both."""
    return value.capitalize() if isinstance(value, str) else value


class TeiRequest(schemas.Request):
    """A text or a list of texts.

    A text that is longer than the model's context is an error if `truncate` is false.
    The other fields may only ask for what this service does.
    """

    inputs: schemas.TextOrTexts
    truncate: bool = True
    truncation_direction: Annotated[Literal["Right"], BeforeValidator(_capitalised)] = "Right"
    normalize: Literal[True] = True
    prompt_name: None = None
    dimensions: schemas.WholeNumber | None = None


def embed(body: TeiRequest, call: Call) -> Rows:
    """A list of vectors, in the order of the texts."""
    check_dimensions("dimensions", body.dimensions, call.model.dimensions)
    result = call.embed([Text(text) for text in body.inputs])
    check_dimensions("dimensions", body.dimensions, result.dimensions)
    if not body.truncate:
        schemas.check_not_truncated(result.truncated, "inputs", "truncate true")
    return result.vectors


@dataclass(frozen=True)
class TeiError:
    """The shape of Text Embeddings Inference's errors."""

    error: str
    error_type: str


def _error_of(error: BaseException) -> TeiError:
    status = HTTPStatus(status_of(error))
    is_ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    kind = ERROR_TYPES.get(status, "backend" if is_ours else "validation")
    return TeiError(message_of(error), kind)


PROTOCOL = Protocol(
    tag="TEI",
    description="The `/embed` route of Text Embeddings Inference, Hugging Face's server.",
    envelope=Envelope(TeiError, _error_of),
    routes=(
        Route(
            "POST",
            "/embed",
            embed,
            Answer(Rows, "The embeddings."),
            Body(TeiRequest),
            raises=TEXT_ERRORS,
            examples={"texts": Example({"inputs": ["a fox", "a pizza"]})},
            aliases=("/",),
        ),
    ),
)
