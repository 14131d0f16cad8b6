"""Routes and protocols as data, for the router and the OpenAPI document."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flask import Request, Response

from common.allowance import Allowance
from common.errors import (
    DeadlineExceeded,
    EmbeddingError,
    ModelLoading,
    ModelUnavailable,
    Overloaded,
)
from functions import schemas
from functions.bodies import parse_json
from functions.envelopes import PROBLEM, Envelope
from functions.errors import (
    FingerprintMismatch,
    ImagesFailed,
    InvalidRequest,
    TooLarge,
    UnsupportedMediaType,
)
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
    """A request body, which `parse` reads as `model`.

    `others` maps further media types that `parse` reads to their JSON schemas. The route does not
    read JSON if `takes_json` is False.
    """

    model: type[schemas.Request]
    parse: Callable[[Request, type[Any], Allowance], Any] = parse_json
    others: Mapping[str, Schema] = field(default_factory=dict)
    takes_json: bool = True


@dataclass(frozen=True)
class Answer:
    """The answer of a route that succeeds. `write` makes it from the handler's result.

    `model` is the type of a JSON answer; other media types have no description but their name.
    `also` maps further statuses with the same content to their descriptions.
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

    `raises` are the errors of this route, besides those of every route. `aliases` are further
    paths. Weaviate's modules call `is_for_weaviate` routes; see `weaviate_callers`. `is_open`
    routes need no API key. `routes_of` sets `tag` and `envelope` to those of the protocol.
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
    def paths(self) -> tuple[str, ...]:
        """The path and its aliases."""
        return self.path, *self.aliases

    @property
    def name(self) -> str:
        """`METHOD /path`."""
        return f"{self.method} {self.path}"

    def match(self, path: str) -> dict[str, str] | None:
        """The value of the route's `{name}` in `path`, if any; None if the path does not match."""
        for own in self.paths:
            before, brace, rest = own.partition("{")
            if not brace:
                if path == own:
                    return {}
                continue
            name, _, after = rest.partition("}")
            value = path.removeprefix(before).removesuffix(after)
            if value and path == before + value + after:
                return {name: value}
        return None


@dataclass(frozen=True)
class Protocol:
    """Routes that share one shape of errors.

    `tag` and `description` are the heading and the text of its section in the API documentation.
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


class RouteTable:
    """The routes of a function by their paths."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._plain: dict[str, dict[str, Route]] = {}
        for route in routes:
            for path in route.paths:
                self._plain.setdefault(path, {})[route.method] = route
        self._named = [route for route in routes if "{" in route.path]

    def at(self, path: str) -> dict[str, Route]:
        """The routes at a path by their methods; empty if there are none."""
        return self._plain.get(path) or {
            own.method: own for own in self._named if own.match(path) is not None
        }
