"""Ollama's embed API: POST /api/embed."""

from dataclasses import dataclass
from typing import Any

from common.encoding import Rows
from common.errors import ModelNotFound
from common.items import Text
from functions import schemas
from functions.call import Call
from functions.envelopes import Envelope, message_of
from functions.examples import Example
from functions.model_names import check_dimensions, check_model
from functions.route import TEXT_ERRORS, Answer, Body, Protocol, Route

NANOSECONDS = 1_000_000_000


class OllamaRequest(schemas.Request):
    """`options` and `keep_alive` have no effect. `dimensions` must be the model's own.

    A text that is longer than the model's context is an error if `truncate` is false.
    """

    model: str
    input: schemas.TextOrTexts
    truncate: bool = True
    dimensions: schemas.WholeNumber | None = None
    options: dict[str, Any] | None = None
    keep_alive: Any = None


@dataclass(frozen=True)
class OllamaResponse:
    """Vectors in the order of the texts. Durations are in nanoseconds."""

    model: str
    embeddings: Rows
    total_duration: int
    prompt_eval_count: int
    load_duration: int = 0


def embed(body: OllamaRequest, call: Call) -> OllamaResponse:
    """Vectors of texts, in the order of the request."""
    name = body.model.removesuffix(":latest")
    check_model(name, call)
    check_dimensions("dimensions", body.dimensions, call.model.dimensions)
    result = call.embed([Text(text) for text in body.input])
    check_dimensions("dimensions", body.dimensions, result.dimensions)
    if not body.truncate:
        schemas.check_not_truncated(result.truncated, "input", "truncate true")
    spent_ns = int(call.record.elapsed_s() * NANOSECONDS)
    return OllamaResponse(body.model, result.vectors, spent_ns, result.tokens)


@dataclass(frozen=True)
class OllamaError:
    """The shape of Ollama's errors."""

    error: str


EXAMPLES = {"texts": Example({"model": "demo", "input": ["a fox", "a pizza"]})}
PROTOCOL = Protocol(
    tag="Ollama",
    description="Ollama's embed API.",
    envelope=Envelope(OllamaError, lambda error: OllamaError(message_of(error))),
    routes=(
        Route(
            "POST",
            "/api/embed",
            embed,
            Answer(OllamaResponse, "The embeddings."),
            Body(OllamaRequest),
            raises=(*TEXT_ERRORS, ModelNotFound),
            examples=EXAMPLES,
        ),
    ),
)
