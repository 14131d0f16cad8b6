"""The engine that runs original weights with torch.

Only this package and the export import torch, open_clip and transformers.
"""

from common.models.spec import EngineOptions, ModelSpec

# The family modules import open_clip when they load. `runtime` must come before them, because it
# makes torchvision importable.
from common.models.torch_engine import families
from common.models.torch_engine.families import TorchImage, TorchText
from common.models.torch_engine.runtime import loading

__all__ = ["load_image_encoder", "load_text_encoder"]


def load_text_encoder(spec: ModelSpec, options: EngineOptions) -> TorchText:
    """Load only the text tower and run it once. Raises ModelUnavailable."""
    with loading(spec, "text"):
        return families.load_text(spec, options)


def load_image_encoder(spec: ModelSpec, options: EngineOptions) -> TorchImage:
    """Load only the image tower and run it once. Raises ModelUnavailable."""
    with loading(spec, "image"):
        return families.load_image(spec, options)
