"""GET /: which service and model this is."""

from dataclasses import dataclass, field
from typing import Any

from common.models.tower import Tower
from common.version import SERVICE, VERSION
from functions.call import Call
from functions.schemas import MAX_BODY_BYTES, MAX_IMAGES, MAX_TEXT_CHARS, MAX_TEXTS

RANDOM = "random weights of real size, for benchmarks: these vectors mean nothing"


@dataclass(frozen=True)
class Limits:
    """The limits of one request."""

    texts: int = MAX_TEXTS
    images: int = MAX_IMAGES
    body_bytes: int = MAX_BODY_BYTES
    text_characters: int = MAX_TEXT_CHARS


@dataclass(frozen=True)
class TowerStatus:
    """The state of a tower. Engine, device and precision are null until it is loaded."""

    loaded: bool
    engine: str | None = None
    device: str | None = None
    precision: str | None = None


@dataclass(frozen=True)
class BannerResponse:
    """The service and its model. `dimensions` and `fingerprint` are null until they are known."""

    service: str
    version: str
    model: str
    full_name: str
    description: str
    dimensions: int | None
    fingerprint: str | None
    text: TowerStatus
    image: TowerStatus
    routes: list[str]
    limits: Limits = field(default_factory=Limits)


def banner(call: Call, routes: list[str]) -> BannerResponse:
    """Describe the service and the model that it serves. Loads nothing."""
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
