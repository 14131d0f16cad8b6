"""GET /health and /health/live"""

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
    """Healthy means: both towers are loaded, and a forward pass worked on each."""

    status: Literal["healthy", "loading", "unhealthy"]
    model_loaded: bool
    text_model_loaded: bool
    image_model_loaded: bool
    detail: str = ""


@dataclass(frozen=True)
class LiveResponse:
    """The process answers."""

    status: Literal["alive"] = "alive"


def live(_: Call) -> LiveResponse:
    """The process answers; says nothing of the model."""
    return LiveResponse()


def health(call: Call) -> HealthResponse:
    """Start loading both towers if nothing has, wait a little, and say how far they are."""
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
    """What keeps the towers from being there after `wait_s`, each named once."""
    until = time.monotonic() + wait_s
    details = []
    for tower in model.towers:
        try:
            tower.wait(max(0.0, until - time.monotonic()))
        except ServiceError as error:
            details.append(str(error))
    return list(dict.fromkeys(details))


def write_health(value: HealthResponse, _: Request) -> Response:
    """200 when both towers are loaded, else 503."""
    return json_response(value, OK if value.model_loaded else UNHEALTHY)
