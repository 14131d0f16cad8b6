"""The routes as data, and the way of a request through them: match, parse, handle, write, log."""

import io
import itertools
import logging
import socket
from typing import Any

from flask import Request, Response

from common import schemas
from common.errors import (
    DeadlineExceeded,
    ImagesFailed,
    InvalidRequest,
    MethodNotAllowed,
    ModelLoading,
    ModelNotFound,
    ModelUnavailable,
    NotFound,
    Overloaded,
    TooLarge,
    UnsupportedMediaType,
)
from functions import (
    banner,
    bigquery,
    docs,
    health,
    image,
    metrics,
    mixed,
    openai,
    openapi,
    playground,
    rank,
    text,
    weaviate,
)
from functions.arrival import waited_s
from functions.bodies import parse_json_or_files
from functions.call import Call
from functions.caller_watch import CallerWatch
from functions.connection import Connection
from functions.envelopes import BIGQUERY, OPENAI, WEAVIATE
from functions.request_record import RequestRecord, current_record
from functions.responses import (
    HTML,
    JSON,
    OCTETS,
    finish,
    is_crash,
    write_file,
    write_json_or,
    write_options,
    write_vectors,
)
from functions.route import Route
from functions.service import get_service


def _banner(call: Call) -> schemas.BannerResponse:
    """What this function is: model, dimensions, fingerprint, engine, limits, routes. Browsers get a page to try it."""
    return banner.banner(call, [route.name for route in ROUTES])


def _document(_: Call) -> dict[str, Any]:
    """This document."""
    return openapi.document(ROUTES)


_TEXT = (InvalidRequest, TooLarge, UnsupportedMediaType, Overloaded, ModelLoading, ModelUnavailable, DeadlineExceeded)
_IMAGES = (*_TEXT, ImagesFailed)
_OPEN: dict[str, Any] = {"tag": "Operation", "is_open": True}
_OPENAI: dict[str, Any] = {"tag": "OpenAI", "envelope": OPENAI}
_WEAVIATE: dict[str, Any] = {"tag": "Weaviate", "envelope": WEAVIATE}
_VECTORS: dict[str, Any] = {"write": write_vectors, "media_types": (JSON, OCTETS)}
ROUTES = (
    Route(
        "GET", "/", _banner, schemas.BannerResponse,
        media_types=(JSON, HTML), write=write_json_or(playground.page), **_OPEN,
    ),
    Route("GET", "/health", health.health, schemas.HealthResponse, **_OPEN),
    Route("GET", "/health/live", health.live, schemas.LiveResponse, **_OPEN),
    Route("POST", "/embed/text", text.embed, schemas.TextResponse, schemas.TextRequest, raises=_TEXT, **_VECTORS),
    Route(
        "POST", "/embed/image", image.embed, schemas.ImageResponse, schemas.ImageRequest, parse_json_or_files,
        raises=_IMAGES, **_VECTORS,
    ),
    Route("POST", "/embed/mixed", mixed.embed, schemas.MixedResponse, schemas.MixedRequest, raises=_IMAGES),
    Route("POST", "/rank", rank.embed_and_rank, rank.RankResponse, rank.RankRequest, raises=_IMAGES),
    Route(
        "POST", "/v1/embeddings", openai.embeddings, openai.EmbeddingsResponse, openai.EmbeddingsRequest,
        aliases=("/embeddings",), raises=(*_IMAGES, ModelNotFound), **_OPENAI,
    ),
    Route("GET", "/v1/models", openai.models, openai.ModelsResponse, aliases=("/models",), **_OPENAI),
    Route(
        "GET", "/v1/models/{id}", openai.model, openai.ModelCard,
        aliases=("/models/{id}",), raises=(ModelNotFound,), **_OPENAI,
    ),
    Route(
        "POST", "/vectorize", weaviate.vectorize, weaviate.VectorizeResponse, weaviate.VectorizeRequest,
        raises=_IMAGES, **_WEAVIATE,
    ),
    Route("GET", "/meta", weaviate.meta, weaviate.MetaResponse, **_WEAVIATE),
    Route("GET", "/.well-known/live", weaviate.live, None, is_open=True, **_WEAVIATE),
    Route(
        "GET", "/.well-known/ready", weaviate.ready, None,
        is_open=True, raises=(ModelLoading, ModelUnavailable), **_WEAVIATE,
    ),
    Route(
        "POST", "/bigquery", bigquery.remote_function, bigquery.RemoteResponse, bigquery.RemoteRequest,
        envelope=BIGQUERY, raises=_IMAGES, tag="BigQuery",
    ),
    Route("GET", "/openapi.json", _document, dict, **_OPEN),
    Route("GET", "/docs", docs.page, schemas.File, media_types=(HTML,), write=write_file, **_OPEN),
    Route(
        "GET", "/docs/{name}", docs.asset, schemas.File,
        media_types=("*/*",), write=write_file, raises=(NotFound,), **_OPEN,
    ),
    Route(
        "GET", "/metrics", metrics.scrape, schemas.File,
        media_types=("text/plain",), write=write_file, tag="Operation",
    ),
)  # fmt: skip

MAX_LOGGED_CHARS = 200  # of what a caller can make as long as it likes

log = logging.getLogger(__name__)
_served = itertools.count()
_callers = CallerWatch()


def dispatch(request: Request) -> Response:
    """Answer any request. Never raises: whatever goes wrong becomes an answer in the route's own error shape."""
    service = get_service()
    connection: socket.socket | None = request.environ.get("gunicorn.socket")
    spent_s = connection.waited_s() if isinstance(connection, Connection) else 0.0
    timeout_s = service.settings.request_timeout_s - spent_s
    record = RequestRecord.from_headers(request.headers, timeout_s, waited_s(connection))
    call = Call(service, record)
    token = current_record.set(record)
    path = request.path.rstrip("/") or "/"
    routes = {route.method: route for route in ROUTES if route.match(path) is not None}
    failure: Exception | None = None
    if connection:
        _callers.add(connection, record.allowance.cancellation)
    try:
        response = _answer(request, path, routes, call)
    except Exception as error:  # noqa: BLE001 - what leaves the function becomes the framework's HTML 500
        failure = error
        response = next(iter(routes.values()), ROUTES[0]).envelope.write(error)
    finally:
        if connection:
            _callers.remove(connection)
        request.environ["wsgi.input"] = io.BytesIO()  # the framework would read what we left into memory
    try:
        response = finish(response, record, request.headers.get("Origin", ""), service.settings.cors_origins)
        _log_request(request, next(iter(routes.values()), None), response, call, failure)
        return response
    finally:
        current_record.reset(token)


def _answer(request: Request, path: str, routes: dict[str, Route], call: Call) -> Response:
    if not routes:
        raise NotFound(f"there is no {path[:200]}; GET / lists the routes")
    allowed = [*routes, *(["HEAD"] if "GET" in routes else []), "OPTIONS"]
    if request.method == "OPTIONS":
        return write_options(allowed)
    route = routes.get("GET" if request.method == "HEAD" else request.method)
    if route is None:
        raise MethodNotAllowed(f"{path} takes {', '.join(allowed)}, not {request.method[:20]}", allowed)
    if not route.is_open:
        call.service.api_keys.check(request.headers)
    arguments = [route.parse(request, route.request, call.record.allowance)] if route.request else []
    return route.write(route.handler(*arguments, call, **(route.match(path) or {})), request)


def _log_request(
    request: Request, route: Route | None, response: Response, call: Call, failure: Exception | None
) -> None:
    """The one record of a request, and its place in the metrics; the record of a crash holds the trace."""
    record = call.record
    call.service.counters.note_request(route.name if route else "unknown", response.status_code, record)
    path = route.path if route else "unknown"
    crashed = failure if is_crash(failure) else None
    milliseconds = {stage: round(seconds * 1000, 1) for stage, seconds in record.stages.items()}
    extra = {
        "httpRequest": {
            "requestMethod": request.method,
            "requestUrl": request.path[:MAX_LOGGED_CHARS],
            "status": response.status_code,
            "responseSize": response.content_length,
            "userAgent": request.headers.get("User-Agent", "")[:MAX_LOGGED_CHARS],
            "latency": f"{record.elapsed_s():.6f}s",
        },
        "route": path,
        "status": response.status_code,
        "total_ms": round(record.elapsed_s() * 1000, 1),
        "stages_ms": milliseconds,
        "batch_sizes": record.batch_sizes,
        "cold": next(_served) == 0,
        **record.facts,
    }
    level = logging.ERROR if crashed else logging.INFO
    log.log(level, "%s %s %d", request.method, path, response.status_code, extra=extra, exc_info=crashed)
