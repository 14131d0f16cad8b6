"""A protocol is one object: what it declares is served, listed and documented."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Request, Response
from openapi_spec_validator import validate
from werkzeug.test import Client, TestResponse

from common.config import Settings
from functions import native, schemas
from functions.call import Call
from functions.envelopes import Envelope, message_of
from functions.errors import InvalidRequest
from functions.examples import Example
from functions.protocols import OPTIONAL, with_operation
from functions.route import Answer, Body, Protocol, Route, routes_of
from functions.router import Router
from functions.service import open_service
from tests.spoken import PROTOCOLS


class ShoutRequest(schemas.Request):
    """Words to shout."""

    words: list[str]
    mark: str = "!"


@dataclass(frozen=True)
class ShoutResponse:
    """The words, shouted."""

    shouted: list[str]


@dataclass(frozen=True)
class ShoutError:
    """The shape of this protocol's errors."""

    oops: str


def shout(body: ShoutRequest, call: Call) -> ShoutResponse:
    """The words in capitals."""
    if not body.words:
        raise InvalidRequest("nothing to shout")
    call.record.facts["words"] = len(body.words)
    return ShoutResponse([word.upper() + body.mark for word in body.words])


def write_text(value: ShoutResponse, _: Request) -> Response:
    return Response("\n".join(value.shouted), mimetype="text/plain")


SHOUTING = Protocol(
    tag="Shouting",
    description="A protocol that only this test speaks.",
    envelope=Envelope(ShoutError, lambda error: ShoutError(message_of(error))),
    routes=(
        Route(
            "POST",
            "/shout",
            shout,
            Answer(ShoutResponse, "The shouted words."),
            Body(ShoutRequest),
            raises=(InvalidRequest,),
            examples={"one": Example({"words": ["fox"]}, {"shouted": ["FOX!"]})},
            aliases=("/yell",),
        ),
        Route(
            "POST",
            "/shout/lines",
            shout,
            Answer(None, "One line a word.", write_text, ("text/plain",)),
            Body(ShoutRequest),
            raises=(InvalidRequest,),
        ),
    ),
)

Ask = Callable[..., TestResponse]


@pytest.fixture
def ask() -> Ask:
    """Sends one request to the function as it is with that protocol beside its own."""
    service = open_service(Settings.from_env({"CLIP_MODEL": "demo"}))
    router = Router(service, with_operation((native.PROTOCOL, *OPTIONAL.values(), SHOUTING)))
    application: Any = Request.application(router.dispatch)  # type: ignore[arg-type] # flask's
    return Client(application).open


def test_its_routes_answer_at_every_path_in_the_form_that_they_declare(ask: Ask) -> None:
    for path in ("/shout", "/yell", "/shout/"):
        answer = ask(path, method="POST", json={"words": ["fox"], "mark": "?"})
        assert (answer.status_code, answer.json) == (200, {"shouted": ["FOX?"]})
        assert answer.headers["X-Request-Id"]
    lines = ask("/shout/lines", method="POST", json={"words": ["a", "b"]})
    assert (lines.text, lines.mimetype) == ("A!\nB!", "text/plain")


def test_its_errors_have_its_shape_whoever_raises_them(ask: Ask) -> None:
    refused = ask("/shout", method="POST", json={"words": []})
    assert (refused.status_code, refused.json) == (400, {"oops": "nothing to shout"})
    wrong = ask("/shout", method="POST", json={"words": "fox"})
    assert wrong.json == {"oops": "words is a string, expected a list"}
    assert list(ask("/shout", method="GET").json or {}) == ["oops"]
    assert (ask("/whisper").json or {})["code"] == "not_found"


def test_the_banner_lists_it_and_the_document_describes_it(ask: Ask) -> None:
    assert "POST /shout/lines" in (ask("/").json or {})["routes"]
    document = ask("/openapi.json").json or {}
    validate(document)
    assert {"name": "Shouting", "description": SHOUTING.description} in document["tags"]
    operation = document["paths"]["/shout"]["post"]
    assert operation["tags"] == ["Shouting"]
    assert operation["requestBody"]["content"]["application/json"]["examples"] == {
        "one": {"value": {"words": ["fox"]}}
    }
    success = operation["responses"]["200"]
    assert success["description"] == "The shouted words."
    assert success["content"]["application/json"]["examples"]["one"]["value"] == {
        "shouted": ["FOX!"]
    }
    refusal = operation["responses"]["400"]["content"]["application/json"]["schema"]
    assert refusal == {"$ref": "#/components/schemas/ShoutError"}
    lines = document["paths"]["/shout/lines"]["post"]["responses"]["200"]["content"]
    assert lines == {"text/plain": {"schema": {"type": "string"}}}


def test_no_two_routes_of_the_function_answer_the_same_path_and_method() -> None:
    routes = routes_of(PROTOCOLS)
    names = [(route.method, path) for route in routes for path in (route.path, *route.aliases)]
    assert len(names) == len(set(names))
    assert {route.tag for route in routes} == {protocol.tag for protocol in PROTOCOLS}
