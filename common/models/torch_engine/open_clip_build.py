"""One tower of an open_clip model, built without the other.

The module is built without memory of its own, then given the checkpoint's mapped tensors. That takes a
tenth of a second and one tower's memory, where `open_clip.create_model` takes seconds and both towers'.
Checkpoints in another layout are loaded by open_clip itself.
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

Scalars = dict[str, Tensor]  # logit_scale and logit_bias, where the checkpoint has them

_SCALARS = ("logit_scale", "logit_bias")
_OTHER_PARTS = {"text": ("visual.", "text_decoder."), "image": ()}
_DERIVED = (".position_ids", "attn_mask")  # old checkpoints hold these, which the module computes
_PLACES = {  # of a configuration: where something comes from, which shapes no vector
    "hf_model_name",
    "hf_model_pretrained",
    "hf_tokenizer_name",
    "timm_model_pretrained",
    "tokenizer_kwargs",  # in the tokenizer's own description
}
HF_CONFIG = ("config.json",)


@dataclass(frozen=True)
class Source:
    """A model's configuration, as open_clip's `model_cfg` and `preprocess_cfg`, and its weights."""

    model: dict[str, Any]
    preprocessing: dict[str, Any]
    file: weights.WeightsFile
    architecture: str

    @property
    def dimensions(self) -> int:
        """Length of the vectors."""
        return int(self.model["embed_dim"])

    @property
    def hf_name(self) -> str:
        """The Hugging Face model that the text tower is made of; empty if it is open_clip's own."""
        return str(self.model["text_cfg"].get("hf_model_name") or "")


def build_tower(
    source: Source, tower: TowerName, spec: ModelSpec, options: EngineOptions
) -> tuple[nn.Module, Scalars]:
    """The tower with its tensors, and the pair's own scalars. Raises ModelUnavailable."""
    tensors, scalars = _read(source.file.path, tower)
    is_hf = tower == "text" and bool(source.hf_name)
    base = weights.hub_file(source.hf_name, HF_CONFIG, spec, options).parent if is_hf else None
    try:
        module = _build_hf_text(source, base, tensors) if base else _build(source, tower, tensors)
        if any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
            raise ValueError("a tensor of the tower is in no checkpoint")
    except (RuntimeError, ValueError):
        return _build_whole(source, tower)
    return module, scalars


def shape_of(source: Source, tower: TowerName) -> dict[str, Any]:
    """The settings that shape a tower beside its tensors: pooling, heads, activation; no place of a file."""
    config = source.model["vision_cfg" if tower == "image" else "text_cfg"]
    shape = {name: value for name, value in config.items() if name not in _PLACES}
    return shape | {"quick_gelu": bool(source.model.get("quick_gelu", False))}


def _read(path: Path, tower: TowerName) -> tuple[dict[str, Tensor], Scalars]:
    """The tensors of one tower by their names in its module, mapped from the file."""

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
    """Raises RuntimeError or ValueError for tensors that do not fit."""
    config = source.model["vision_cfg" if tower == "image" else "text_cfg"]
    parts = open_clip.model
    build: Callable[..., nn.Module] = (
        parts._build_vision_tower if tower == "image" else parts._build_text_tower
    )
    # timm computes buffers that no checkpoint holds, so its modules cannot be built on meta.
    with WithoutInit() if config.get("timm_model_name") else torch.device("meta"):
        module = build(source.dimensions, config, source.model.get("quick_gelu", False))
    module.load_state_dict(tensors, strict=True, assign=True)
    if getattr(module, "attn_mask", None) is not None:
        mask = module.build_causal_mask()  # type: ignore[operator]
        module.register_buffer("attn_mask", mask, persistent=False)
    return module


class WithoutInit(TorchFunctionMode):
    """Leaves new parameters uninitialised, so that their memory is never touched before it is replaced."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        in_place = name.endswith("_") and not name.endswith("__") and name != "requires_grad_"
        if in_place and args and isinstance(args[0], nn.Parameter):
            return args[0]
        return func(*args, **(kwargs or {}))


def _build_hf_text(source: Source, base: Path, tensors: dict[str, Tensor]) -> nn.Module:
    """open_clip's adapter around a Hugging Face encoder, whose own weights are not downloaded."""
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
    """The whole model by open_clip's own loader, of which one tower is kept."""
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
    """The text side of a CLIP whose tensors stand beside its visual tower."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        model.visual = None
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors (n, dimensions), not normalised."""
        vectors: Tensor = self.model.encode_text(ids)
        return vectors
