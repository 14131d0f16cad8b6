"""The engines that run a model's towers, and the choice between them.

To add an engine, write one module with a class that implements `Engine`, and add it to
`all_engines`.
"""

from collections.abc import Sequence

from common.cloud_storage import CloudStorage
from common.errors import ModelUnavailable
from common.models.engines.engine import Engine
from common.models.engines.onnx import OnnxEngine
from common.models.engines.torch import TorchEngine
from common.models.fingerprint import Fingerprints
from common.models.spec import EngineOptions, ModelSpec

AUTO = "auto"


def all_engines(storage: CloudStorage) -> tuple[Engine, ...]:
    """All engines, the preferred one first."""
    return OnnxEngine(storage), TorchEngine()


def engines_for(name: str, options: EngineOptions, engines: Sequence[Engine]) -> tuple[Engine, ...]:
    """The engines that work with these options: the one with this name, or any for `auto`.

    Raises ValueError for an unknown name. If the options rule out every engine, it raises
    ValueError with the reasons.
    """
    candidates = [engine for engine in engines if name in (AUTO, engine.name)]
    if not candidates:
        known = ", ".join([AUTO, *(engine.name for engine in engines)])
        raise ValueError(f"no engine {name!r}; known engines: {known}")
    fitting = tuple(engine for engine in candidates if not engine.unfit(options))
    if not fitting:
        raise ValueError("; ".join(engine.unfit(options) for engine in candidates))
    return fitting


def choose_engine(spec: ModelSpec, options: EngineOptions, engines: Sequence[Engine]) -> Engine:
    """The first engine that can serve the model now.

    Raises ModelUnavailable with the reason of each engine if none can.
    """
    refusals = []
    for engine in engines:
        refusal = engine.refusal(spec, options)
        if not refusal:
            return engine
        refusals.append(refusal)
    raise ModelUnavailable(f"model {spec.id}: {'; '.join(refusals)}")


def foreseen_failure(spec: ModelSpec, options: EngineOptions, engines: Sequence[Engine]) -> str:
    """Why a load would fail now, as far as that is cheap to find out; else empty."""
    try:
        return choose_engine(spec, options, engines).foresee(spec, options)
    except ModelUnavailable as error:
        return str(error)


def fingerprints_before_loading(
    spec: ModelSpec, options: EngineOptions, engines: Sequence[Engine]
) -> Fingerprints | None:
    """The fingerprints of what would be served now, if that is known without loading anything."""
    for engine in engines:
        try:
            fingerprints = engine.fingerprints(spec, options)
        except ModelUnavailable:  # the load says what is wrong
            return None
        if fingerprints is not None:
            return fingerprints
    return None
