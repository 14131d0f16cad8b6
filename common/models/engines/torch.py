"""The engine that runs any model's original weights with torch."""

from importlib.util import find_spec
from typing import Any

from common.errors import ModelUnavailable
from common.models import weights
from common.models.fingerprint import Fingerprints
from common.models.spec import EngineOptions, ImageEncoder, ModelSpec, TextEncoder, TowerName

LIBRARIES = ("torch", "open_clip", "transformers", "huggingface_hub")
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
                _check(spec, tower, options)
            except ModelUnavailable as error:
                reasons.append(str(error))
        return "; ".join(dict.fromkeys(reasons))

    def load_text(self, spec: ModelSpec, options: EngineOptions) -> TextEncoder:
        """Load the text tower from its weights and run it once. Raises ModelUnavailable."""
        _check(spec, "text", options)
        encoder: TextEncoder = _import_engine().load_text_encoder(spec, options)
        return encoder

    def load_image(self, spec: ModelSpec, options: EngineOptions) -> ImageEncoder:
        """Load the image tower from its weights and run it once. Raises ModelUnavailable."""
        _check(spec, "image", options)
        encoder: ImageEncoder = _import_engine().load_image_encoder(spec, options)
        return encoder


def _check(spec: ModelSpec, tower: TowerName, options: EngineOptions) -> None:
    """Check that torch is installed and the weights can be had, before seconds of imports.

    Raises ModelUnavailable.
    """
    for name in LIBRARIES:
        if find_spec(name) is None:
            raise ModelUnavailable(
                f"model {spec.id}: no bundle found, and the torch engine is not installed "
                f"({name} is missing): pip install -r requirements.txt"
            )
    weights.check(spec, tower, options)


def _import_engine() -> Any:
    from common.models import torch_engine

    return torch_engine
