"""Configures the server that functions-framework starts: its worker, trusted headers and errors.

functions-framework reads neither GUNICORN_CMD_ARGS nor a gunicorn.conf.py, and passes no options
to gunicorn. But it runs main.py before gunicorn reads its configuration. So this module changes
the defaults of gunicorn's settings.
"""

import logging
from collections.abc import Callable

import flask
from werkzeug.exceptions import HTTPException

from functions.drain import DrainOrClose

GUNICORN = "23.0.0"  # functions/worker.py fits this version, and functions-framework pins it

log = logging.getLogger(__name__)


def fit(app: flask.Flask, dispatch: Callable[[flask.Request], flask.Response]) -> None:
    """Make every path reach the router, and keep slow callers from blocking threads.

    Call it before `app` has routes or a server.
    """
    app.url_map.merge_slashes = False  # `/embed//text` gets a 404, not an HTML redirect
    # Flask refuses some paths itself, such as /robots.txt. The router answers them instead.
    app.register_error_handler(HTTPException, lambda _: dispatch(flask.request))
    app.wsgi_app = DrainOrClose(app.wsgi_app)  # type: ignore[method-assign]
    _fit_gunicorn()


def _fit_gunicorn() -> None:
    import gunicorn
    from gunicorn import config

    from functions.worker import Worker

    if gunicorn.__version__ != GUNICORN:
        log.warning(
            "gunicorn is %s, expected %s: slow callers can block threads",
            gunicorn.__version__,
            GUNICORN,
        )
        return
    config.WorkerClass.default = Worker
    # No header changes the scheme or the path, so no two headers can contradict each other.
    config.ForwardedAllowIPS.default = ""
