"""The routes as data, and the way of a request through them: match, parse, handle, write, log."""

import io
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask import Request, Response

from common import schemas
from common.auth import get_api_keys
from common.config import get_settings
from common.context import RequestContext, current_request
from common.errors import MethodNotAllowed, NotFound
from functions import banner, bigquery, health, image, mixed, openai, rank, text, weaviate
from functions.bodies import parse_json, parse_json_or_files
from functions.envelopes import write_bigquery_error, write_openai_error, write_problem, write_weaviate_error
from functions.responses import finish, is_crash, write_json, write_options, write_vectors


@dataclass(frozen=True)
class Route:
    """`handler` takes the parsed `request` model, or the path's `{name}`, or nothing, and returns a `response`.

    `aliases` are further paths; `is_open`: no API key is asked for. `writes_octets`: vectors can come as raw bytes.
    """

    method: str
    path: str
    handler: Callable[..., Any]
    response: type | None
    request: type[schemas.Request] | None = None
    parse: Callable[[Request, type[Any]], Any] = parse_json
    write_error: Callable[[BaseException], Response] = write_problem
    aliases: tuple[str, ...] = ()
    is_open: bool = False
    writes_octets: bool = False

    def match(self, path: str) -> dict[str, str] | None:
        """The values of the path's `{name}`, which takes the rest of the path; None: another path."""
        for own in (self.path, *self.aliases):
            before, brace, name = own.partition("{")
            if path == own or (brace and path.startswith(before) and len(path) > len(before)):
                return {name.rstrip("}"): path[len(before) :]} if brace else {}
        return None


_OPENAI: dict[str, Any] = {"write_error": write_openai_error}
_WEAVIATE: dict[str, Any] = {"write_error": write_weaviate_error}
ROUTES = (
    Route("GET", "/", lambda: banner.banner(route_names()), schemas.BannerResponse, is_open=True),
    Route("GET", "/health", health.health, schemas.HealthResponse, is_open=True),
    Route("GET", "/health/live", health.live, schemas.LiveResponse, is_open=True),
    Route("POST", "/embed/text", text.embed, schemas.TextResponse, schemas.TextRequest, writes_octets=True),
    Route(
        "POST", "/embed/image", image.embed, schemas.ImageResponse, schemas.ImageRequest, parse_json_or_files,
        writes_octets=True,
    ),
    Route("POST", "/embed/mixed", mixed.embed, schemas.MixedResponse, schemas.MixedRequest),
    Route("POST", "/rank", rank.embed_and_rank, rank.RankResponse, rank.RankRequest),
    Route(
        "POST", "/v1/embeddings", openai.embeddings, openai.EmbeddingsResponse, openai.EmbeddingsRequest,
        aliases=("/embeddings",), **_OPENAI,
    ),
    Route("GET", "/v1/models", openai.models, openai.ModelsResponse, aliases=("/models",), **_OPENAI),
    Route("GET", "/v1/models/{id}", openai.model, openai.ModelCard, aliases=("/models/{id}",), **_OPENAI),
    Route("POST", "/vectorize", weaviate.vectorize, weaviate.VectorizeResponse, weaviate.VectorizeRequest, **_WEAVIATE),
    Route("GET", "/meta", weaviate.meta, weaviate.MetaResponse, **_WEAVIATE),
    Route("GET", "/.well-known/live", weaviate.live, None, is_open=True, **_WEAVIATE),
    Route("GET", "/.well-known/ready", weaviate.ready, None, is_open=True, **_WEAVIATE),
    Route(
        "POST", "/bigquery", bigquery.remote_function, bigquery.RemoteResponse, bigquery.RemoteRequest,
        write_error=write_bigquery_error,
    ),
)  # fmt: skip

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
    routes = {route.method: route for route in ROUTES if route.match(path) is not None}
    failure: Exception | None = None
    try:
        response = _answer(request, path, routes)
    except Exception as error:  # noqa: BLE001 - what leaves the function becomes the framework's HTML 500
        failure = error
        response = next(iter(routes.values()), ROUTES[0]).write_error(error)
    finally:
        request.environ["wsgi.input"] = io.BytesIO()  # the framework would read what we left into memory
    try:
        response = finish(response, context, request.headers.get("Origin", ""), get_settings().cors_origins)
        route = next((route.path for route in routes.values()), "unknown")
        _log_request(request, route, response, context, failure)
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
    if not route.is_open:
        get_api_keys().check(request.headers)
    if route.request is None:
        return write_json(route.handler(**(route.match(path) or {})))
    answer = route.handler(route.parse(request, route.request))
    return write_vectors(answer, request) if route.writes_octets else write_json(answer)


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
