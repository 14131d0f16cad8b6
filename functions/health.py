"""GET /health and /health/live"""

import time

from common.errors import ServiceError
from common.models.model import Model
from common.schemas import HealthResponse, LiveResponse
from functions.call import Call


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
        return HealthResponse("healthy", model_loaded=True, text_model_loaded=True, image_model_loaded=True)
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
