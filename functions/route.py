"""What a route is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Request, Response

from common import schemas
from common.allowance import Allowance
from common.errors import EmbeddingError
from functions.bodies import parse_json
from functions.envelopes import PROBLEM, Envelope
from functions.responses import JSON, write_json


@dataclass(frozen=True)
class Route:
    """`handler` takes the parsed `request` model if there is one, the call, and the path's `{name}`.

    It returns a `response`. `write` makes the answer of it, in one of the `media_types`. `raises` are the errors that the route itself can end
    in, beside those that any can. `aliases` are further paths; `is_open`: no API key is asked for.
    """

    method: str
    path: str
    handler: Callable[..., Any]
    response: type | None
    request: type[schemas.Request] | None = None
    parse: Callable[[Request, type[Any], Allowance], Any] = parse_json
    write: Callable[[Any, Request], Response] = write_json
    media_types: tuple[str, ...] = (JSON,)
    envelope: Envelope = PROBLEM
    raises: tuple[type[EmbeddingError], ...] = ()
    aliases: tuple[str, ...] = ()
    is_open: bool = False
    tag: str = "Embedding"

    @property
    def name(self) -> str:
        """`METHOD /path`."""
        return f"{self.method} {self.path}"

    def match(self, path: str) -> dict[str, str] | None:
        """The values of the path's `{name}`, which takes the rest of the path; None: another path."""
        for own in (self.path, *self.aliases):
            before, brace, name = own.partition("{")
            if path == own or (brace and path.startswith(before) and len(path) > len(before)):
                return {name.rstrip("}"): path[len(before) :]} if brace else {}
        return None
