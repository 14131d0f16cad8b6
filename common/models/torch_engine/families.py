"""The tower families: one module each, imported by name when one of its towers loads.

A family finds its weights, reads its tokenizer and builds its torch module. To add a family, write
a module with `load_text`, `load_image` or both, and add it to `FAMILIES`. A `TowerSource` selects
it by name. The export writes its towers as they are, unless a plain tower fits their modules.
"""

from importlib import import_module
from typing import Any, Protocol

from torch import nn

from common.errors import ModelUnavailable
from common.models.spec import EngineOptions, ImageEncoder, ModelSpec, TextEncoder, TowerName
from common.models.tokenizer import TextTokenizer

FAMILIES = {
    "open_clip": "common.models.torch_engine.open_clip_towers",
    "mclip": "common.models.torch_engine.multilingual_text",
}


class TorchText(TextEncoder, Protocol):
    """A loaded text tower that can be exported; a batch is padded with `pad_id`."""

    module: nn.Module
    tokenizer: TextTokenizer
    pad_id: int


class TorchImage(ImageEncoder, Protocol):
    """A loaded image tower that can be exported."""

    module: nn.Module


def load_text(spec: ModelSpec, options: EngineOptions) -> TorchText:
    """Load the text tower with its family's module. Raises ModelUnavailable."""
    encoder: TorchText = _loader(spec, "text")(spec, spec.text, options)
    return encoder


def load_image(spec: ModelSpec, options: EngineOptions) -> TorchImage:
    """Load the image tower with its family's module. Raises ModelUnavailable."""
    encoder: TorchImage = _loader(spec, "image")(spec, spec.image, options)
    return encoder


def _loader(spec: ModelSpec, tower: TowerName) -> Any:
    """The family's function `(spec, source, options) → encoder`. Raises ModelUnavailable."""
    family = (spec.text if tower == "text" else spec.image).family
    module = import_module(FAMILIES[family]) if family in FAMILIES else None
    load = getattr(module, f"load_{tower}", None)
    if load is None:
        known = ", ".join(FAMILIES)
        message = f"no family {family!r} for {tower} towers; known: {known}"
        raise ModelUnavailable(f"model {spec.id}: {message}")
    return load
