"""The function in this process, called through a test client."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
from flask import Request
from werkzeug.test import Client, TestResponse

from common.config import Settings
from export.emoji import picture_of
from functions.protocols import speaking
from functions.router import Router
from functions.service import open_service

FOX = "data:image/png;base64," + base64.b64encode(picture_of("fox")).decode()
Ask = Callable[..., TestResponse]


def asking(**settings: Any) -> Ask:
    """Sends one request to a function with the demo model and these settings."""
    own = Settings.model_validate({"model": "demo", **settings})
    router = Router(open_service(own), speaking(own.protocols))
    application: Any = Request.application(router.dispatch)  # type: ignore[arg-type] # flask's
    return Client(application).open


def post(ask: Ask, path: str, body: object, **options: Any) -> Any:
    """The JSON of an answer with status 200."""
    answer = ask(path, method="POST", json=body, **options)
    assert answer.status_code == 200, answer.text
    return answer.json


def native(ask: Ask) -> tuple[Any, Any]:
    """The vectors of "a fox" and of FOX, from the function's own route."""
    body = post(ask, "/embed/mixed", {"texts": ["a fox"], "urls": [FOX]})
    return np.array(body["text_embeddings"][0]), np.array(body["image_embeddings"][0])


def joined(text: Any, image: Any, share: float = 0.5) -> Any:
    """One vector of both, with `share` for the text."""
    mean = share * text + (1 - share) * image
    return mean / np.linalg.norm(mean)
