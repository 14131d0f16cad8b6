"""The reference in eager float32: open_clip, or M-CLIP's text encoder beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.reference import import_open_clip


@dataclass(frozen=True)
class Reference:
    """Both encoders of a model. `preprocess` makes a tensor of an image."""

    model: Any
    preprocess: Callable[[Any], Any]
    embed: Callable[[Sequence[str]], Any]

    def encode_texts(self, texts: Sequence[str]) -> Any:
        """(n, dimensions) of unit norm, as a tensor or an array."""
        import torch

        with torch.inference_mode():
            return self.embed(list(texts))

    def encode_images(self, pixels: Sequence[Any]) -> Any:
        """(n, dimensions) of unit norm."""
        import torch

        with torch.inference_mode():
            return self.model.encode_image(torch.stack(list(pixels)), normalize=True)


def load_reference(checkpoint: Path) -> Reference:
    """Load a folder that export/random_weights.py wrote, with open_clip's own loader."""
    open_clip = import_open_clip()
    is_mclip = (checkpoint / "text").is_dir()
    name = f"local-dir:{checkpoint / 'image' if is_mclip else checkpoint}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    model.eval()
    if is_mclip:
        return Reference(model, preprocess, _multilingual(checkpoint))
    tokenizer = open_clip.get_tokenizer(name)
    return Reference(
        model, preprocess, lambda texts: model.encode_text(tokenizer(texts), normalize=True)
    )


def _multilingual(checkpoint: Path) -> Callable[[Sequence[str]], Any]:
    """The module of the package `multilingual_clip`, which pads a batch to its longest text."""
    from common.models import torch_engine
    from common.models.catalog import resolve
    from common.models.spec import EngineOptions

    options = EngineOptions(checkpoint.parent, allow_download=False, device="cpu")
    encoder = torch_engine.load_text_encoder(resolve(checkpoint.name), options)
    return lambda texts: encoder.encode([tokens.ids for tokens in encoder.tokenize(texts)])
