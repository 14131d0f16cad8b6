"""POST /bigquery: a BigQuery remote function."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict, Field

from common.encoding import as_strings
from common.images.url_policy import as_url
from functions.call import Call
from functions.envelopes import Envelope, message_of
from functions.errors import ImagesFailed, InvalidRequest
from functions.examples import Example
from functions.route import IMAGE_ERRORS, Answer, Body, Protocol, Route
from functions.schemas import MAX_IMAGES, MAX_TEXT_CHARS, Item, OnError, Request

MAX_ANSWER_BYTES = 14_000_000  # BigQuery accepts 15 MB
MAX_MESSAGE_CHARS = 900  # BigQuery shows at most 1 KB
FEWER_ROWS = "set a lower max_batching_rows on the remote function"

log = logging.getLogger(__name__)


class Context(Request):
    """The remote function's `user_defined_context`. BigQuery sends its values as strings."""

    input: Literal["text", "image"] = "text"
    encoding: Literal["json", "base64"] = "json"
    on_error: OnError = "null"


class RemoteRequest(Request):
    """One batch of rows. Unknown fields are ignored, because BigQuery may add some."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    calls: list[Any]
    context: Context = Field(Context(), alias="userDefinedContext")


@dataclass(frozen=True)
class RemoteResponse:
    """One reply for each call: a vector as a JSON list in a string, or as base64.

    A reply is null for a null argument and for an image that failed.
    """

    replies: Sequence[str | None]


def remote_function(body: RemoteRequest, call: Call) -> RemoteResponse:
    """One reply for each row, in order.

    Raises ImagesFailed under `on_error: fail`, and InvalidRequest if the batch or its answer is
    too large.
    """
    items = {
        place: item for place, row in enumerate(body.calls) if (item := _item(row, body.context))
    }
    if len(items) < len(body.calls):
        log.warning(
            "rows without a reply",
            extra={"rows": len(body.calls) - len(items), "reason": "the argument is not a text"},
        )
    replies: list[str | None] = [None] * len(body.calls)
    if not items:
        return RemoteResponse(replies)
    # More images than this would mostly run out of time.
    if body.context.input == "image" and len(items) > MAX_IMAGES:
        raise InvalidRequest(
            f"{len(items):,} images in one batch, the limit is {MAX_IMAGES:,}: {FEWER_ROWS}"
        )
    places = list(items)
    _check_size(
        len(items) * (call.model.dimensions or 0) * (5 if body.context.encoding == "base64" else 8)
    )
    embedded = call.embed([item.read() for item in items.values()])
    if embedded.errors and body.context.on_error == "fail":
        first = embedded.errors[0]
        raise ImagesFailed(
            f"row {places[first.index]}: {first.detail} ({first.code})",
            embedded.errors,
            field="calls",
        )
    strings = as_strings(embedded.vectors, body.context.encoding)
    _check_size(sum(map(len, strings)))
    for index, string in zip(embedded.indices, strings, strict=True):
        replies[places[index]] = string
    return RemoteResponse(replies)


def _item(row: object, context: Context) -> Item | None:
    """The row's one argument; None if it is null, not a text, or too long a text."""
    value = row[0] if isinstance(row, list) and len(row) == 1 else None
    if not isinstance(value, str):
        return None
    if context.input == "text":
        return Item(text=value) if len(value) <= MAX_TEXT_CHARS else None
    return Item(url=as_url(value, tolerant=True)) if value.strip() else None


def _check_size(size: int) -> None:
    if size > MAX_ANSWER_BYTES:
        message = (
            f"the answer would be {size:,} bytes, the limit is {MAX_ANSWER_BYTES:,}: {FEWER_ROWS}"
        )
        raise InvalidRequest(f"{message}, or set encoding to base64 in its user_defined_context")


@dataclass(frozen=True)
class BigQueryError:
    """The shape of a BigQuery remote function's errors."""

    errorMessage: str  # noqa: N815 - the protocol's name


PROTOCOL = Protocol(
    tag="BigQuery",
    description="BigQuery remote functions.",
    envelope=Envelope(
        BigQueryError, lambda error: BigQueryError(message_of(error)[:MAX_MESSAGE_CHARS])
    ),
    routes=(
        Route(
            "POST",
            "/bigquery",
            remote_function,
            Answer(RemoteResponse, "One reply for each row."),
            Body(RemoteRequest),
            raises=IMAGE_ERRORS,
            examples={
                "a batch of rows": Example(
                    {
                        "calls": [["a fox"], [None]],
                        "userDefinedContext": {"encoding": "base64"},
                    }
                ),
                "an empty row": Example({"calls": [[None]]}, {"replies": [None]}),
            },
        ),
    ),
)
