"""The function in this process, called through a test client."""

from collections.abc import Callable
from typing import Any

from flask import Request
from werkzeug.test import Client, TestResponse

from common.config import Settings
from functions.protocols import speaking
from functions.router import Router
from functions.service import open_service

Ask = Callable[..., TestResponse]


def asking(**settings: Any) -> Ask:
    """Sends one request to a function with the demo model and these settings."""
    own = Settings.model_validate({"model": "demo", **settings})
    router = Router(open_service(own), speaking(own.protocols))
    application: Any = Request.application(router.dispatch)  # type: ignore[arg-type] # flask's
    return Client(application).open
