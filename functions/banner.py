"""GET /"""

from typing import Any

from common.models.tower import Tower
from common.schemas import BannerResponse, TowerStatus
from common.version import SERVICE, VERSION
from functions.call import Call

RANDOM = "random weights of real size, for benchmarks: these vectors mean nothing"


def banner(call: Call, routes: list[str]) -> BannerResponse:
    """What this function is and which model it serves. Loads nothing."""
    model = call.model
    return BannerResponse(
        service=SERVICE,
        version=VERSION,
        model=model.spec.id,
        full_name=model.spec.full_name,
        description=RANDOM if model.has_random_weights else model.spec.description,
        dimensions=model.dimensions,
        fingerprint=model.fingerprint,
        text=_status(model.text),
        image=_status(model.image),
        routes=routes,
    )


def _status(tower: Tower[Any, Any]) -> TowerStatus:
    if tower.encoder is None:
        return TowerStatus(loaded=False)
    info = tower.encoder.info
    return TowerStatus(True, info.engine, info.device, info.precision)
