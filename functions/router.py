"""The routes as data, and the way of a request through them: match, parse, handle, write, log."""

import io
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Request, Response

from common import schemas
from common.config import get_settings
from common.context import RequestContext, current_request
from common.errors import MethodNotAllowed, NotFound
from functions import banner, health, image, mixed, text
from functions.bodies import parse_json
from functions.responses import finish, is_crash, write_json, write_options, write_problem


@dataclass(frozen=True)
class Route:
    """`handler` takes the parsed `request` model, or nothing where that is None, and returns a `response`."""

    method: str
    path: str
    handler: Callable[..., Any]
    response: type
    request: type[schemas.Request] | None = None
    write_error: Callable[[BaseException], Response] = write_problem


ROUTES = (
    Route("GET", "/", lambda: banner.banner(route_names()), schemas.BannerResponse),
    Route("GET", "/health", health.health, schemas.HealthResponse),
    Route("GET", "/health/live", health.live, schemas.LiveResponse),
    Route("POST", "/embed/text", text.embed, schemas.TextResponse, schemas.TextRequest),
    Route("POST", "/embed/image", image.embed, schemas.ImageResponse, schemas.ImageRequest),
    Route("POST", "/embed/mixed", mixed.embed, schemas.MixedResponse, schemas.MixedRequest),
)

log = logging.getLogger(__name__)
_served = itertools.count()


def route_names() -> list[str]:
    """Each route as `METHOD /path`."""
    return [f"{route.method} {route.path}" for route in ROUTES]


def dispatch(request: Request) -> Response:
    """Answer any request. Never raises: whatever goes wrong becomes an answer in the route's own error shape."""
    context = RequestContext.from_headers(request.headers, get_settings().request_timeout_s)
    token = current_request.set(context)
    path = request.path.rstrip("/") or "/"
    routes = {route.method: route for route in ROUTES if route.path == path}
    failure: Exception | None = None
    try:
        response = _answer(request, path, routes)
    except Exception as error:  # noqa: BLE001 - what leaves the function becomes the framework's HTML 500
        failure = error
        response = next(iter(routes.values()), ROUTES[0]).write_error(error)
    finally:
        request.environ["wsgi.input"] = io.BytesIO()  # the framework would read what we left into memory
    try:
        response = finish(response, context)
        _log_request(request, path if routes else "unknown", response, context, failure)
        return response
    finally:
        current_request.reset(token)


def _answer(request: Request, path: str, routes: dict[str, Route]) -> Response:
    if not routes:
        raise NotFound(f"there is no {path[:200]}; GET / lists the routes")
    allowed = [*routes, *(["HEAD"] if "GET" in routes else []), "OPTIONS"]
    if request.method == "OPTIONS":
        return write_options(allowed)
    route = routes.get("GET" if request.method == "HEAD" else request.method)
    if route is None:
        raise MethodNotAllowed(f"{path} takes {', '.join(allowed)}, not {request.method[:20]}", allowed)
    if route.request is None:
        return write_json(route.handler())
    return write_json(route.handler(parse_json(request, route.request)))


def _log_request(
    request: Request, route: str, response: Response, context: RequestContext, failure: Exception | None
) -> None:
    """The one record of a request; that of a crash holds the trace."""
    crashed = failure if is_crash(failure) else None
    milliseconds = {stage: round(seconds * 1000, 1) for stage, seconds in context.stages.items()}
    extra = {
        "httpRequest": {
            "requestMethod": request.method,
            "requestUrl": request.path,
            "status": response.status_code,
            "responseSize": response.content_length,
            "userAgent": request.headers.get("User-Agent", "")[:200],
            "latency": f"{context.elapsed_s():.6f}s",
        },
        "route": route,
        "status": response.status_code,
        "total_ms": round(context.elapsed_s() * 1000, 1),
        "stages_ms": milliseconds,
        "batch_sizes": context.batch_sizes,
        "cold": next(_served) == 0,
        **context.facts,
    }
    level = logging.ERROR if crashed else logging.INFO
    log.log(level, "%s %s %d", request.method, route, response.status_code, extra=extra, exc_info=crashed)
