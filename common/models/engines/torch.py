"""The engine that runs the original weights of any model with torch."""

from typing import Any

from common.errors import ModelUnavailable
from common.models.spec import EngineOptions, ImageEncoder, ModelSpec, TextEncoder


class TorchEngine:
    """Loads weights from a folder or the model hub; needs `requirements.txt`."""

    name = "torch"

    def unfit(self, options: EngineOptions) -> str:
        """Empty unless the weights are a bundle in a bucket."""
        return "the torch engine does not read a bundle in a bucket" if options.weights_uri else ""

    def refusal(self, spec: ModelSpec, options: EngineOptions) -> str:  # noqa: ARG002
        """Empty: what is missing shows when the weights are fetched."""
        return ""

    def load_text(self, spec: ModelSpec, options: EngineOptions) -> TextEncoder:
        """See Engine."""
        encoder: TextEncoder = _import_engine(spec).load_text_encoder(spec, options)
        return encoder

    def load_image(self, spec: ModelSpec, options: EngineOptions) -> ImageEncoder:
        """See Engine."""
        encoder: ImageEncoder = _import_engine(spec).load_image_encoder(spec, options)
        return encoder


def _import_engine(spec: ModelSpec) -> Any:
    """The package with torch. Raises ModelUnavailable if only what bundles need is installed."""
    try:
        from common.models import torch_engine
    except ModuleNotFoundError as error:
        message = (
            f"model {spec.id}: no bundle found, and the torch engine is not installed "
            f"({error.name} is missing): pip install -r requirements.txt"
        )
        raise ModelUnavailable(message) from error
    return torch_engine
