"""GET / gives browsers the page and everyone else the banner, through the real console script."""

import pytest
import requests

from functions.playground import PAGE
from tests.contract import check_contract
from tests.e2e.server import Server

CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def accepting(server: Server, accept: str | None, **headers: str) -> requests.Response:
    """GET / with that Accept header, or none."""
    return server.get("/", headers={"Accept": accept, **headers})  # type: ignore[dict-item]


@pytest.mark.parametrize("accept", [CHROME, "text/html", "text/html;q=0.9, application/json;q=0.5"])
def test_browsers_get_the_page(demo: Server, accept: str) -> None:
    answer = accepting(demo, accept)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.text == PAGE.read_text("utf-8")
    check_contract("/", answer)


@pytest.mark.parametrize(
    "accept", [None, "*/*", "application/json", "application/json, text/html", "text/*;q=0.1, */*"]
)
def test_everyone_else_gets_the_banner(demo: Server, accept: str | None) -> None:
    answer = accepting(demo, accept)
    assert answer.json()["model"] == "demo"
    assert "Accept" in answer.headers["Vary"]
    check_contract("/", answer)


def test_the_page_is_packed_for_those_who_unpack(demo: Server) -> None:
    packed = accepting(demo, CHROME, **{"Accept-Encoding": "gzip"})
    plain = accepting(demo, CHROME, **{"Accept-Encoding": "identity"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert packed.content == plain.content
    assert int(packed.headers["Content-Length"]) <= 60_000
    assert {part.strip() for part in packed.headers["Vary"].split(",")} == {
        "Accept",
        "Accept-Encoding",
    }
    head = requests.head(demo.url + "/", headers={"Accept": CHROME}, timeout=10)
    assert (head.status_code, head.content) == (200, b"")


def test_it_can_be_turned_off(configured: Server) -> None:
    answer = accepting(configured, CHROME)
    assert answer.json()["model"] == "demo"
    page = configured.get("/openapi.json").json()["paths"]["/"]["get"]["responses"]["200"]
    assert list(page["content"]) == ["application/json"]
