"""What a route and a protocol are, as data: the router dispatches by it, OpenAPI is made of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flask import Request, Response

from common.allowance import Allowance
from common.errors import (
    DeadlineExceeded,
    EmbeddingError,
    FingerprintMismatch,
    ImagesFailed,
    InvalidRequest,
    ModelLoading,
    ModelUnavailable,
    Overloaded,
    TooLarge,
    UnsupportedMediaType,
)
from functions import schemas
from functions.bodies import parse_json
from functions.envelopes import PROBLEM, Envelope
from functions.examples import Example
from functions.responses import JSON, OK, write_json

Schema = dict[str, Any]

TEXT_ERRORS: tuple[type[EmbeddingError], ...] = (
    InvalidRequest,
    TooLarge,
    UnsupportedMediaType,
    Overloaded,
    ModelLoading,
    ModelUnavailable,
    DeadlineExceeded,
    FingerprintMismatch,
)
IMAGE_ERRORS = (*TEXT_ERRORS, ImagesFailed)


@dataclass(frozen=True)
class Body:
    """A request's body: the `model` that `parse` makes of it.

    `others` are media types that `parse` reads beside JSON, each with its JSON schema; or in place
    of it if `takes_json` is False.
    """

    model: type[schemas.Request]
    parse: Callable[[Request, type[Any], Allowance], Any] = parse_json
    others: Mapping[str, Schema] = field(default_factory=dict)
    takes_json: bool = True


@dataclass(frozen=True)
class Answer:
    """What a route answers when it succeeds: what `write` makes of the handler's result.

    `model` is the type that JSON holds; other media types are described by their name alone.
    `also` are further statuses with the same content, each with its description.
    """

    model: Any = None
    description: str = "The answer."
    write: Callable[[Any, Request], Response] = write_json
    media_types: tuple[str, ...] = (JSON,)
    status: int = OK
    also: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """One path and method. `handler` takes the parsed body, if any, the call, and the `{name}`.

    `raises` are the errors that the route itself can end in, beside those that any can.
    `aliases` are further paths. `is_for_weaviate` routes are called by Weaviate's modules, see
    `weaviate_callers`. `is_open` routes ask for no API key. `tag` and `envelope` are
    those of the route's protocol, see `routes_of`.
    """

    method: str
    path: str
    handler: Callable[..., Any]
    answer: Answer
    body: Body | None = None
    raises: tuple[type[EmbeddingError], ...] = ()
    examples: Mapping[str, Example] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    is_open: bool = False
    is_for_weaviate: bool = False
    tag: str = ""
    envelope: Envelope = PROBLEM

    @property
    def name(self) -> str:
        """`METHOD /path`."""
        return f"{self.method} {self.path}"

    def match(self, path: str) -> dict[str, str] | None:
        """The path's `{name}` with the rest of `path` as its value; None for another path."""
        for own in (self.path, *self.aliases):
            before, brace, name = own.partition("{")
            if path == own or (brace and path.startswith(before) and len(path) > len(before)):
                return {name.rstrip("}"): path[len(before) :]} if brace else {}
        return None


@dataclass(frozen=True)
class Protocol:
    """A way to speak to this function: routes with errors of one shape.

    `tag` and `description` head its part of the documentation.
    """

    tag: str
    description: str
    routes: tuple[Route, ...]
    envelope: Envelope = PROBLEM


def routes_of(protocols: Iterable[Protocol]) -> tuple[Route, ...]:
    """All routes of `protocols`, each with its protocol's tag and envelope."""
    return tuple(
        replace(route, tag=protocol.tag, envelope=protocol.envelope)
        for protocol in protocols
        for route in protocol.routes
    )
