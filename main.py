"""The Cloud Function's entry point: `embed` receives every path and method."""

import logging
import os
import sys
from functools import partial
from pathlib import Path

# A `common` or `functions` package in site-packages must not shadow ours.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from functions.quick_start import after_imports, before_imports

before_imports()

import flask
from flask import Request, Response

from common.config import SettingsError, get_settings
from common.errors import ModelNotFound
from common.logging import configure
from common.memory import keep_no_large_blocks
from functions.protocols import speaking
from functions.request_record import current_log_fields
from functions.router import Router
from functions.server import fit
from functions.service import open_service

log = logging.getLogger(__name__)

try:
    settings = get_settings()
    service = open_service(settings)  # this does not load a model
except (SettingsError, ModelNotFound, ValueError) as error:
    sys.exit(f"cannot start: {error}")

router = Router(service, speaking(settings.protocols, settings.playground))
keep_no_large_blocks()
configure(settings.log_level, partial(current_log_fields, settings.project))
for name in ("fetch_allow_hosts", "fetch_allow_networks"):
    if allowed := getattr(settings, name):
        log.warning(
            "CLIP_%s changes which addresses are fetched: %s",
            name.upper(),
            ", ".join(map(str, allowed)),
        )
# The server forks its worker after this import, and threads do not survive a fork.
os.register_at_fork(
    after_in_child=partial(service.model.preload, settings.preload)
    if settings.preload
    else service.model.warn_of_failure
)
if flask.has_app_context():  # functions-framework executes this file within its app's context
    app = flask.current_app._get_current_object()  # type: ignore[attr-defined]
    fit(app, router.dispatch)
after_imports()


def embed(request: Request) -> Response:
    """Answer one HTTP request; see functions/router.py for the routes."""
    return router.dispatch(request)
