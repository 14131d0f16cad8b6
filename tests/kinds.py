"""Tiny models of each open_clip kind, with random weights in the layout of their repositories."""

import json
from pathlib import Path
from typing import Any

from tests.checkpoints import make_hub_tokenizer, make_tiny_mclip
from tests.reference import import_open_clip

KINDS = ("siglip", "xlm-roberta", "coca", "timm")
TIMM_SIZE = 48
_VISION = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16}
_TEXT = {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}


def make_model(kind: str, folder: Path) -> Any:
    """Write the model's files into `folder`, its tokenizer into `folder`/text.

    Returns open_clip's own model.
    """
    import torch
    from safetensors.torch import save_file

    config = _config(kind, folder / "text")
    torch.manual_seed(3)
    open_clip = import_open_clip()
    register_tiny_vit()
    build = open_clip.CoCa if kind == "coca" else open_clip.CustomTextCLIP
    model = build(**{name: value for name, value in config.items() if name != "custom_text"}).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("logit_"):
                parameter.add_(torch.randn_like(parameter) * 0.05)
    state = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    preprocessing = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    written = {"model_cfg": config, "preprocess_cfg": preprocessing if kind == "siglip" else {}}
    (folder / "open_clip_config.json").write_text(json.dumps(written))
    return model


def _config(kind: str, text: Path) -> dict[str, Any]:
    """As `model_cfg`; writes what the text tower wants beside the weights."""
    text.mkdir(parents=True)
    vision: dict[str, Any] = dict(_VISION)
    words: dict[str, Any] = dict(_TEXT)
    extra: dict[str, Any] = {}
    if kind == "siglip":
        make_hub_tokenizer(text, "siglip")
        vision = _timm("map", "none")
        words |= {
            "vocab_size": 600,
            "hf_tokenizer_name": str(text),
            "width": 128,
            "pool_type": "last",
        }
        words |= {"no_causal_mask": True, "proj_bias": True, "norm_kwargs": {"eps": 1e-6}}
        words |= {
            "act_kwargs": {"approximate": "tanh"},
            "tokenizer_kwargs": {"clean": "canonicalize"},
        }
        extra = {"init_logit_bias": -10}
    elif kind == "xlm-roberta":
        make_tiny_mclip(text)
        (text / "config.json").write_text((text / "base" / "config.json").read_text())
        words = {"hf_model_name": str(text), "hf_tokenizer_name": str(text)}
        words |= {"hf_model_pretrained": False, "context_length": 16}
    elif kind == "coca":
        vision |= {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
        words |= {"embed_cls": True, "output_tokens": True}
        extra = {"multimodal_cfg": _TEXT | {"attn_pooler_heads": 2}}
    else:
        vision = _timm("token", None)
    dimensions = 128 if kind == "siglip" else 64
    return {
        "embed_dim": dimensions,
        "custom_text": True,
        "vision_cfg": vision,
        "text_cfg": words,
    } | extra


def register_tiny_vit() -> None:
    """Make timm know `tiny_vit`, a transformer of two layers with the structure of SigLIP's."""
    from timm.models import is_model, register_model
    from timm.models.vision_transformer import VisionTransformer

    def tiny_vit(pretrained: bool = False, **settings: Any) -> VisionTransformer:
        pool = settings.get("global_pool", "token")
        return VisionTransformer(
            img_size=TIMM_SIZE,
            patch_size=16,
            embed_dim=128,
            depth=2,
            num_heads=2,
            num_classes=settings.get("num_classes", 0),
            global_pool=pool,
            class_token=pool == "token",
            act_layer="gelu_tanh" if pool == "map" else None,  # as in timm's SigLIP
        )

    if not is_model("tiny_vit"):
        register_model(tiny_vit)


def _timm(pool: str, projection: str | None) -> dict[str, Any]:
    return {
        "timm_model_name": "tiny_vit",
        "timm_model_pretrained": False,
        "timm_pool": pool,
        "timm_proj": projection,
        "image_size": TIMM_SIZE,
    }
