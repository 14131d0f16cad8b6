"""GET /health and /health/live: whether the function can serve."""

import time
from dataclasses import dataclass
from typing import Literal

from flask import Request, Response

from common.errors import ServiceError
from common.models.model import Model
from functions.call import Call
from functions.responses import OK, UNHEALTHY, json_response


@dataclass(frozen=True)
class HealthResponse:
    """The service is healthy once both towers are loaded and have run a forward pass."""

    status: Literal["healthy", "loading", "unhealthy"]
    model_loaded: bool
    text_model_loaded: bool
    image_model_loaded: bool
    detail: str = ""


@dataclass(frozen=True)
class LiveResponse:
    """The process is alive."""

    status: Literal["alive"] = "alive"


def live(_: Call) -> LiveResponse:
    """The process is alive. Says nothing about the model."""
    return LiveResponse()


def health(call: Call) -> HealthResponse:
    """Start loading both towers if needed, wait briefly, and report their state."""
    model = call.model
    for tower in model.towers:
        tower.start_loading()
    details = _wait_for_towers(model, call.settings.health_wait_s)
    text, image = (tower.encoder is not None for tower in model.towers)
    if text and image:
        return HealthResponse(
            "healthy", model_loaded=True, text_model_loaded=True, image_model_loaded=True
        )
    failed = any(tower.failure for tower in model.towers)
    return HealthResponse(
        "unhealthy" if failed else "loading",
        model_loaded=False,
        text_model_loaded=text,
        image_model_loaded=image,
        detail="; ".join(details),
    )


def _wait_for_towers(model: Model, wait_s: float) -> list[str]:
    """The reasons why towers are not loaded after `wait_s`, each once."""
    until = time.monotonic() + wait_s
    details = []
    for tower in model.towers:
        try:
            tower.wait(max(0.0, until - time.monotonic()))
        except ServiceError as error:
            details.append(str(error))
    return list(dict.fromkeys(details))


def write_health(value: HealthResponse, _: Request) -> Response:
    """200 if both towers are loaded, else 503."""
    return json_response(value, OK if value.model_loaded else UNHEALTHY)
