"""Answers a request: match its route, parse, handle, write and log."""

import io
import itertools
import logging
import socket
from collections.abc import Sequence
from functools import partial

from flask import Request, Response

from common.allowance import Allowance
from common.errors import Overloaded
from functions.arrival import waited_s
from functions.call import Call
from functions.caller_watch import CallerWatch
from functions.connection import Connection
from functions.envelopes import PROBLEM
from functions.errors import MethodNotAllowed, NotFound
from functions.request_record import RequestRecord, current_record
from functions.responses import finish, is_crash, name_fingerprint, write_options
from functions.route import Protocol, Route, RouteTable, routes_of
from functions.service import Service
from functions.weaviate_callers import TIMEOUT_S as WEAVIATE_TIMEOUT_S
from functions.weaviate_callers import is_weaviate

MAX_LOGGED_CHARS = 200  # of values whose length the caller chooses

log = logging.getLogger(__name__)


class Router:
    """Answers requests to the routes of `protocols` with `service`. Thread-safe."""

    def __init__(self, service: Service, protocols: Sequence[Protocol]) -> None:
        self._service = service
        self._routes = RouteTable(routes_of(protocols))
        self._callers = CallerWatch()
        self._served = itertools.count()

    def dispatch(self, request: Request) -> Response:
        """Answer any request. Never raises: a failure becomes an error in the protocol's shape."""
        settings = self._service.settings
        connection: socket.socket | None = request.environ.get("gunicorn.socket")
        spent_s, turned_away = 0.0, 0
        if isinstance(connection, Connection):
            spent_s, turned_away = connection.waited_s(), connection.turned_away
        path = request.path.rstrip("/") or "/"
        routes = self._routes.at(path)
        method = "GET" if request.method == "HEAD" else request.method
        matched = routes.get(method) or next(reversed(routes.values()), None)
        timeout_s = settings.request_timeout_s
        is_patient = (matched and matched.is_for_weaviate) or is_weaviate(request.headers)
        if is_patient:
            timeout_s = min(timeout_s, WEAVIATE_TIMEOUT_S)
        record = RequestRecord.from_headers(
            request.headers, timeout_s - spent_s, waited_s(connection), turned_away
        )
        if is_patient:
            record.allowance = record.allowance.patient()
        call = Call(self._service, record)
        token = current_record.set(record)
        failure: Exception | None = None
        if connection:
            self._callers.add(connection, record.allowance.cancellation)
        try:
            response = _answer(request, path, routes, call)
        except Exception as error:  # noqa: BLE001 - the framework would answer with HTML
            failure = error
            response = (matched.envelope if matched else PROBLEM).write(error)
        finally:
            if connection:
                self._callers.remove(connection)
            request.environ["wsgi.input"] = io.BytesIO()  # else the framework reads the rest
        try:
            origin = request.headers.get("Origin", "")
            response = finish(response, record, origin, settings.cors_origins)
            self._log_request(request, matched, response, call, failure)
        finally:
            current_record.reset(token)
        if isinstance(connection, Connection) and isinstance(failure, Overloaded):
            note = partial(self._note_like, request, matched, response)
            connection.note_refused(failure.lasts_s, record.request_id, note)
        return response

    def _note_like(
        self, request: Request, route: Route | None, response: Response, request_id: str
    ) -> None:
        """Log and count a request that got a copy of `response`, without a thread."""
        record = RequestRecord(request_id, Allowance())
        token = current_record.set(record)
        try:
            self._log_request(request, route, response, Call(self._service, record), None)
        finally:
            current_record.reset(token)

    def _log_request(
        self,
        request: Request,
        route: Route | None,
        response: Response,
        call: Call,
        failure: Exception | None,
    ) -> None:
        """Log the request once and count it. After a crash the log record has the trace."""
        record = call.record
        call.service.counters.note_request(
            route.name if route else "unknown", response.status_code, record
        )
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
            "cold": next(self._served) == 0,
            **record.facts,
        }
        level = logging.ERROR if crashed else logging.INFO
        log.log(
            level,
            "%s %s %d",
            request.method,
            path,
            response.status_code,
            extra=extra,
            exc_info=crashed,
        )


def _answer(request: Request, path: str, routes: dict[str, Route], call: Call) -> Response:
    if not routes:
        raise NotFound(f"no route {path[:200]}; `GET /` lists all routes")
    allowed = [*routes, *(["HEAD"] if "GET" in routes else []), "OPTIONS"]
    if request.method == "OPTIONS":
        return write_options(allowed, request.headers.get("Access-Control-Request-Headers", ""))
    route = routes.get("GET" if request.method == "HEAD" else request.method)
    if route is None:
        raise MethodNotAllowed(
            f"{path} supports {', '.join(allowed)}, not {request.method[:20]}", allowed
        )
    if not route.is_open:
        call.service.api_keys.check(request.headers)
    body = route.body
    given = [body.parse(request, body.model, call.record.allowance)] if body else []
    result = route.handler(*given, call, **(route.match(path) or {}))
    return name_fingerprint(route.answer.write(result, request), call.fingerprint)
