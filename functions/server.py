"""Fits the server that functions-framework starts: its worker, its trust in headers, and Flask's own errors.

functions-framework reads neither GUNICORN_CMD_ARGS nor a gunicorn.conf.py, and hands gunicorn no option of ours. It
runs main.py before it asks gunicorn for its configuration, so the defaults of gunicorn's settings are the seam.
"""

import logging
from collections.abc import Callable

import flask
from werkzeug.exceptions import HTTPException

from functions.drain import DrainOrClose

GUNICORN = "23.0.0"  # what functions/worker.py was written for, and the platform's own pin

log = logging.getLogger(__name__)


def fit(app: flask.Flask, dispatch: Callable[[flask.Request], flask.Response]) -> None:
    """Before `app` has routes or a server: every path reaches the router, and slow callers hold no thread."""
    app.url_map.merge_slashes = False  # `/embed//text` is an unknown path, not a redirect in HTML
    # What Flask refuses by itself (a line break in the path, /robots.txt), the router answers.
    app.register_error_handler(HTTPException, lambda _: dispatch(flask.request))
    app.wsgi_app = DrainOrClose(app.wsgi_app)  # type: ignore[method-assign]
    _fit_gunicorn()


def _fit_gunicorn() -> None:
    import gunicorn
    from gunicorn import config

    from functions.worker import Worker

    if gunicorn.__version__ != GUNICORN:
        log.warning(
            "gunicorn %s is not %s: slow callers can hold threads", gunicorn.__version__, GUNICORN
        )
        return
    config.WorkerClass.default = Worker
    config.ForwardedAllowIPS.default = (
        ""  # no header changes the scheme or the path, so none can contradict another
    )
