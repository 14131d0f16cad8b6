"""The operator's routes: banner, health, metrics and the documentation of all routes."""

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

from pydantic import WithJsonSchema

from functions import banner, docs, health, metrics, openapi, playground
from functions.call import Call
from functions.errors import NotFound
from functions.responses import HTML, JSON, UNHEALTHY, write_file, write_json_or
from functions.route import Answer, Protocol, Route, routes_of

Document = Annotated[dict[str, Any], WithJsonSchema({"type": "object"})]


def protocol(spoken: tuple[Protocol, ...], has_playground: bool) -> Protocol:
    """The operator's routes. They list and document the routes of `spoken` and themselves."""

    def banner_of(call: Call) -> banner.BannerResponse:
        """The service, its model, limits and routes. Browsers get the playground."""
        return banner.banner(call, [route.name for route in routes_of((*spoken, own))])

    def document_of(_: Call) -> dict[str, Any]:
        """The OpenAPI document of this function."""
        return document()

    @cache
    def document() -> dict[str, Any]:
        return openapi.document((*spoken, own))

    own = Protocol(
        tag="Operation",
        description="What is served, and whether it is healthy.",
        routes=_routes(banner_of, document_of, has_playground),
    )
    return own


def _routes(
    banner_of: Callable[[Call], banner.BannerResponse],
    document_of: Callable[[Call], dict[str, Any]],
    has_playground: bool,
) -> tuple[Route, ...]:
    front = Answer(banner.BannerResponse, "The service.")
    if has_playground:
        page, says = write_json_or(playground.page), "The service, or the playground."
        front = Answer(banner.BannerResponse, says, page, (JSON, HTML))
    document = Answer(Document, "The OpenAPI document.")
    return (
        Route("GET", "/", banner_of, front, is_open=True),
        *_HEALTH,
        Route("GET", "/openapi.json", document_of, document, is_open=True),
        *_PAGES,
    )


_HEALTH = (
    Route(
        "GET",
        "/health",
        health.health,
        Answer(
            health.HealthResponse,
            "Healthy.",
            health.write_health,
            also={UNHEALTHY: "Loading or unhealthy."},
        ),
        is_open=True,
    ),
    Route("GET", "/health/live", health.live, Answer(health.LiveResponse, "Alive."), is_open=True),
)
_PAGES = (
    Route(
        "GET",
        "/docs",
        docs.page,
        Answer(None, "Interactive API documentation.", write_file, (HTML,)),
        is_open=True,
    ),
    Route(
        "GET",
        "/docs/{name}",
        docs.asset,
        Answer(None, "The file.", write_file, ("*/*",)),
        raises=(NotFound,),
        is_open=True,
    ),
    Route(
        "GET",
        "/metrics",
        metrics.scrape,
        Answer(None, "The metrics.", write_file, ("text/plain",)),
    ),
)
