"""The engine that runs original weights.

Only this package and the export import torch, open_clip and transformers.
"""

from common.models.spec import EngineOptions, ModelSpec
from common.models.torch_engine import families
from common.models.torch_engine.families import TorchImage, TorchText
from common.models.torch_engine.runtime import (
    loading,
)  # it must precede open_clip: see its operators

__all__ = ["load_image_encoder", "load_text_encoder"]


def load_text_encoder(spec: ModelSpec, options: EngineOptions) -> TorchText:
    """Load the text tower alone, and run it once. Raises ModelUnavailable."""
    with loading(spec, "text"):
        return families.load_text(spec, options)


def load_image_encoder(spec: ModelSpec, options: EngineOptions) -> TorchImage:
    """Load the image tower alone, and run it once. Raises ModelUnavailable."""
    with loading(spec, "image"):
        return families.load_image(spec, options)
