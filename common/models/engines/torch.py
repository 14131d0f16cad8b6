"""The engine that runs any model's original weights with torch."""

from typing import Any

from common.errors import ModelUnavailable
from common.models import weights
from common.models.fingerprint import Fingerprints
from common.models.spec import EngineOptions, ImageEncoder, ModelSpec, TextEncoder, TowerName

TOWERS: tuple[TowerName, TowerName] = ("text", "image")


class TorchEngine:
    """Loads weights from a folder or the model hub; it needs `requirements.txt`."""

    name = "torch"

    def unfit(self, options: EngineOptions) -> str:
        """Why the weights do not suit torch; empty unless they are a bundle in a bucket."""
        return "the torch engine cannot read a bucket's bundle" if options.weights_uri else ""

    def refusal(self, spec: ModelSpec, options: EngineOptions) -> str:  # noqa: ARG002
        """Always empty: `load_text` and `load_image` find out what is missing."""
        return ""

    def fingerprints(self, spec: ModelSpec, options: EngineOptions) -> Fingerprints | None:  # noqa: ARG002
        """None: they are over the tensors, which are read with the towers."""
        return None

    def foresee(self, spec: ModelSpec, options: EngineOptions) -> str:
        """What both towers lack: weights that are not here and cannot be fetched."""
        reasons = []
        for tower in TOWERS:
            try:
                weights.check(spec, tower, options)
            except ModelUnavailable as error:
                reasons.append(str(error))
        return "; ".join(dict.fromkeys(reasons))

    def load_text(self, spec: ModelSpec, options: EngineOptions) -> TextEncoder:
        """Load the text tower from its weights and run it once. Raises ModelUnavailable."""
        weights.check(spec, "text", options)  # before torch: its import takes seconds
        encoder: TextEncoder = _import_engine(spec).load_text_encoder(spec, options)
        return encoder

    def load_image(self, spec: ModelSpec, options: EngineOptions) -> ImageEncoder:
        """Load the image tower from its weights and run it once. Raises ModelUnavailable."""
        weights.check(spec, "image", options)
        encoder: ImageEncoder = _import_engine(spec).load_image_encoder(spec, options)
        return encoder


def _import_engine(spec: ModelSpec) -> Any:
    """Import the package that uses torch. Raises ModelUnavailable if torch is not installed."""
    try:
        from common.models import torch_engine
    except ModuleNotFoundError as error:
        message = (
            f"model {spec.id}: no bundle found, and the torch engine is not installed "
            f"({error.name} is missing): pip install -r requirements.txt"
        )
        raise ModelUnavailable(message) from error
    return torch_engine
