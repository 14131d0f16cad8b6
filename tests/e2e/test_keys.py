"""API keys: every route except the open ones requires one, and refuses in its protocol's shape."""

import pytest
import requests

from functions import bigquery, cohere, immich, ollama, openai, tei, voyage, weaviate
from functions.envelopes import PROBLEM, Envelope
from functions.route import Route
from tests.e2e.server import Server
from tests.spoken import ROUTES

NO_KEY = "no valid API key: send `Authorization: Bearer KEY` or `X-API-Key: KEY`"
ENVELOPES: dict[Envelope, dict[str, object]] = {
    PROBLEM: {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": NO_KEY,
        "code": "unauthorized",
        "errors": [],
    },
    openai.PROTOCOL.envelope: {
        "error": {
            "message": NO_KEY,
            "type": "authentication_error",
            "param": None,
            "code": "unauthorized",
        },
        "detail": NO_KEY,
    },
    cohere.PROTOCOL.envelope: {"message": NO_KEY},
    ollama.PROTOCOL.envelope: {"error": NO_KEY},
    tei.PROTOCOL.envelope: {"error": NO_KEY, "error_type": "validation"},
    voyage.PROTOCOL.envelope: {"detail": NO_KEY},
    weaviate.PROTOCOL.envelope: {"error": NO_KEY},
    immich.PROTOCOL.envelope: {"detail": NO_KEY},
    bigquery.PROTOCOL.envelope: {"errorMessage": NO_KEY},
}
GUARDED = [route for route in ROUTES if not route.is_open]
OPEN = [route for route in ROUTES if route.is_open]


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: route.name)
def test_a_wrong_key_is_401_in_the_routes_own_envelope(guarded: Server, route: Route) -> None:
    for path in (route.path, *route.aliases):
        response = requests.request(
            route.method,
            guarded.url + path.replace("{id}", "demo"),
            headers={"Authorization": "Bearer wrong"},
            timeout=30,
        )
        assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert response.json() == ENVELOPES[route.envelope]


@pytest.mark.parametrize("route", OPEN, ids=lambda route: route.name)
def test_what_a_platform_probes_stays_open(guarded: Server, route: Route) -> None:
    for path in (route.path, *route.aliases):
        path = path.replace("{name}", "show.js")
        assert requests.request(route.method, guarded.url + path, timeout=90).status_code in (
            200,
            204,
        )


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "second-key"},
        {"api-key": "first-key"},
        {"Authorization": "bearer first-key"},
        {"Authorization": "Bearer  second-key "},
    ],
)
def test_either_key_in_either_header_passes(guarded: Server, headers: dict[str, str]) -> None:
    assert guarded.post("/embed/text", {"texts": ["a"]}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "first"},
        {"X-API-Key": ""},
        {"Authorization": "Basic first-key"},
        {"X-API-Key": "é"},
    ],
)
def test_no_key_and_a_part_of_a_key_do_not(guarded: Server, headers: dict[str, str]) -> None:
    latin = {name: value.encode("utf-8").decode("latin-1") for name, value in headers.items()}
    assert guarded.post("/embed/text", {"texts": ["a"]}, headers=latin).status_code == 401


def test_a_key_is_asked_for_before_the_body_is_read(guarded: Server) -> None:
    response = requests.post(guarded.url + "/embed/text", b"{", timeout=30)
    assert response.status_code == 401
