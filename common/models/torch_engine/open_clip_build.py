"""Build one tower of an open_clip model without the other.

The module is built without memory of its own, then it gets the checkpoint's mapped tensors. That
takes a tenth of a second and one tower's memory. `open_clip.create_model` takes seconds and the
memory of both towers. It still loads the checkpoints whose layout does not fit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.hf_model import HFTextEncoder
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from common.models import weights
from common.models.spec import EngineOptions, ModelSpec, TowerName
from common.models.torch_engine.runtime import read_tensors, refill_position_ids

Scalars = dict[str, Tensor]  # logit_scale and logit_bias, if the checkpoint has them

_SCALARS = ("logit_scale", "logit_bias")
_OTHER_PARTS = {"text": ("visual.", "text_decoder."), "image": ()}
_DERIVED = (".position_ids", "attn_mask")  # in old checkpoints; the module computes them itself
_PLACES = {  # settings that say where something comes from; they do not change vectors
    "hf_model_name",
    "hf_model_pretrained",
    "hf_tokenizer_name",
    "timm_model_pretrained",
    "tokenizer_kwargs",  # the tokenizer's own description covers these
}
HF_CONFIG = ("config.json",)


@dataclass(frozen=True)
class Source:
    """A model's weights and its configuration: open_clip's `model_cfg` and `preprocess_cfg`."""

    model: dict[str, Any]
    preprocessing: dict[str, Any]
    file: weights.WeightsFile
    architecture: str

    @property
    def dimensions(self) -> int:
        """The length of the vectors."""
        return int(self.model["embed_dim"])

    @property
    def hf_name(self) -> str:
        """The Hugging Face model inside the text tower; empty if the tower is open_clip's own."""
        return str(self.model["text_cfg"].get("hf_model_name") or "")


def build_tower(
    source: Source, tower: TowerName, spec: ModelSpec, options: EngineOptions
) -> tuple[nn.Module, Scalars]:
    """Build a tower with its tensors; return it with the scalars of the model.

    Raises ModelUnavailable.
    """
    tensors, scalars = _read(source.file.path, tower)
    is_hf = tower == "text" and bool(source.hf_name)
    base = weights.hub_file(source.hf_name, HF_CONFIG, spec, options).parent if is_hf else None
    try:
        module = _build_hf_text(source, base, tensors) if base else _build(source, tower, tensors)
        if any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
            raise ValueError("the checkpoint lacks a tensor of the tower")
    except (RuntimeError, ValueError):
        return _build_whole(source, tower)
    return module, scalars


def shape_of(source: Source, tower: TowerName) -> dict[str, Any]:
    """The settings that shape a tower besides its tensors, such as pooling, heads and activation.

    Names of files and repositories are left out.
    """
    config = source.model["vision_cfg" if tower == "image" else "text_cfg"]
    shape = {name: value for name, value in config.items() if name not in _PLACES}
    return shape | {"quick_gelu": bool(source.model.get("quick_gelu", False))}


def _read(path: Path, tower: TowerName) -> tuple[dict[str, Tensor], Scalars]:
    """Map the tensors of one tower, by their names in its module, and the model's scalars."""

    def wanted(name: str) -> bool:
        if name in _SCALARS:
            return True
        is_ours = name.startswith("visual.") == (tower == "image")
        return is_ours and not name.startswith(_OTHER_PARTS[tower]) and not name.endswith(_DERIVED)

    tensors = read_tensors(path, wanted)
    scalars = {name: tensors.pop(name) for name in _SCALARS if name in tensors}
    prefix = "visual." if tower == "image" else "text."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, scalars


def _build(source: Source, tower: TowerName, tensors: dict[str, Tensor]) -> nn.Module:
    """Build open_clip's module for a tower and assign its tensors.

    Raises RuntimeError or ValueError if the tensors do not fit.
    """
    config = source.model["vision_cfg" if tower == "image" else "text_cfg"]
    parts = open_clip.model
    build: Callable[..., nn.Module] = (
        parts._build_vision_tower if tower == "image" else parts._build_text_tower
    )
    # timm computes buffers that are not in checkpoints, so its modules cannot be built on meta.
    with WithoutInit() if config.get("timm_model_name") else torch.device("meta"):
        module = build(source.dimensions, config, source.model.get("quick_gelu", False))
    module.load_state_dict(tensors, strict=True, assign=True)
    if getattr(module, "attn_mask", None) is not None:
        mask = module.build_causal_mask()  # type: ignore[operator]
        module.register_buffer("attn_mask", mask, persistent=False)
    return module


class WithoutInit(TorchFunctionMode):
    """Leaves new parameters uninitialised, so their memory is not touched before it is replaced."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        in_place = name.endswith("_") and not name.endswith("__") and name != "requires_grad_"
        if in_place and args and isinstance(args[0], nn.Parameter):
            return args[0]
        return func(*args, **(kwargs or {}))


def _build_hf_text(source: Source, base: Path, tensors: dict[str, Tensor]) -> nn.Module:
    """Build open_clip's adapter around a Hugging Face encoder, without the encoder's own weights.

    Raises RuntimeError or ValueError if the tensors do not fit.
    """
    config = source.model["text_cfg"]
    with torch.device("meta"):
        module: nn.Module = HFTextEncoder(
            str(base),
            output_dim=source.dimensions,
            proj_type=config.get("hf_proj_type", "mlp"),
            pooler_type=config.get("hf_pooler_type", "mean_pooler"),
            pretrained=False,
        )
    module.load_state_dict(tensors, strict=True, assign=True)
    refill_position_ids(module.transformer)  # type: ignore[arg-type]
    return module


def _build_whole(source: Source, tower: TowerName) -> tuple[nn.Module, Scalars]:
    """Load the whole model with open_clip's own loader, and keep one tower."""
    folder = source.file.path.parent
    local = (folder / weights.OPEN_CLIP_CONFIG).is_file()
    model = open_clip.create_model(
        f"local-dir:{folder}" if local else source.architecture,
        pretrained=None if local else str(source.file.path),
        require_pretrained=True,
        force_quick_gelu=bool(source.model.get("quick_gelu", False)),
    )
    scalars = {name: getattr(model, name, None) for name in _SCALARS}
    found = {name: scalar.detach() for name, scalar in scalars.items() if scalar is not None}
    if tower == "image":
        return model.visual, found
    return model.text if hasattr(model, "text") else _WholeText(model), found


class _WholeText(nn.Module):
    """The text tower of a model that keeps it in the same module as the image tower."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        model.visual = None
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids (n, length) → vectors (n, dimensions), not normalised."""
        vectors: Tensor = self.model.encode_text(ids)
        return vectors
