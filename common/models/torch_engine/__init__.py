"""The engine that runs any open_clip model and M-CLIP. Only this package imports torch, open_clip and transformers."""

from common.models.spec import EngineOptions, ImageEncoder, ModelSpec, MultilingualTower, TextEncoder
from common.models.torch_engine.runtime import loading  # before open_clip and transformers: see its operators

__all__ = ["load_image_encoder", "load_text_encoder"]


def load_text_encoder(spec: ModelSpec, options: EngineOptions) -> TextEncoder:
    """Load the text tower alone, and run it once. Raises ModelUnavailable."""
    with loading(spec, "text"):
        if isinstance(spec.text, MultilingualTower):
            from common.models.torch_engine.multilingual_text import load_multilingual_text

            return load_multilingual_text(spec, spec.text, options)
        from common.models.torch_engine.open_clip_towers import load_open_clip_text

        return load_open_clip_text(spec, spec.text, options)


def load_image_encoder(spec: ModelSpec, options: EngineOptions) -> ImageEncoder:
    """Load the image tower alone, and run it once. Raises ModelUnavailable."""
    with loading(spec, "image"):
        from common.models.torch_engine.open_clip_towers import load_open_clip_image

        return load_open_clip_image(spec, spec.image, options)
