"""The random weights of the benchmark in the layouts that the peers read.

    python -m tests.benchmarks.peers.weights

writes build/peers/weights/transformers and build/peers/weights/onnx, unless they are there.
"""

import json
import re
from pathlib import Path
from typing import Any

from common.files import replacing
from tests.benchmarks.checkpoints import checkpoint_of
from tests.paths import ROOT
from tests.reference import import_open_clip

WEIGHTS = ROOT / "build" / "peers" / "weights"
TRANSFORMERS = WEIGHTS / "transformers"  # a folder of transformers' CLIPModel
ONNX = WEIGHTS / "onnx"  # visual.onnx, textual.onnx, tokenizer.json: open_clip's modules, float32
# open_clip's names of tensors, and transformers'.
NAMES = (
    (r"^visual\.transformer\.resblocks", "vision_model.encoder.layers"),
    (r"^transformer\.resblocks", "text_model.encoder.layers"),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
    (r"^token_embedding", "text_model.embeddings.token_embedding"),
    (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^ln_final", "text_model.final_layer_norm"),
    (r"^text_projection$", "text_projection.weight"),
    (r"^visual\.conv1", "vision_model.embeddings.patch_embedding"),
    (r"^visual\.class_embedding", "vision_model.embeddings.class_embedding"),
    (r"^visual\.positional_embedding$", "vision_model.embeddings.position_embedding.weight"),
    (r"^visual\.ln_pre", "vision_model.pre_layrnorm"),
    (r"^visual\.ln_post", "vision_model.post_layernorm"),
    (r"^visual\.proj$", "visual_projection.weight"),
)
TRANSPOSED = ("text_projection", "visual.proj")
JOINED = ".attn.in_proj_"  # open_clip keeps the weights of q, k and v in one tensor


def as_transformers(tensors: dict[str, Any]) -> dict[str, Any]:
    """The tensors of open_clip's CLIP under the names of transformers' CLIPModel."""
    renamed = {}
    for name, tensor in tensors.items():
        new = name
        for pattern, replacement in NAMES:
            new = re.sub(pattern, replacement, new)
        if JOINED in new:
            for part, values in zip("qkv", tensor.chunk(3), strict=True):
                renamed[new.replace(JOINED, f".self_attn.{part}_proj.")] = values.contiguous()
        else:
            renamed[new] = tensor.T.contiguous() if name in TRANSPOSED else tensor
    return renamed


def _write_transformers(folder: Path, checkpoint: Path) -> None:
    from safetensors.torch import load_file
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    model = CLIPModel(CLIPConfig())  # ViT-B/32 is its default
    tensors = as_transformers(load_file(checkpoint / "open_clip_model.safetensors"))
    model.load_state_dict(tensors, strict=True)
    model.save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    _write_tokenizer(folder)


def _write_tokenizer(folder: Path) -> None:
    """CLIP's tokenizer as transformers lays it out, from the merges that open_clip brings."""
    from transformers import CLIPTokenizerFast

    reference = import_open_clip().tokenizer.SimpleTokenizer()
    start, end = "<|startoftext|>", "<|endoftext|>"
    ids = {name: number for name, number in reference.encoder.items() if number < 49406}
    (folder / "vocab.json").write_text(json.dumps(ids | {start: 49406, end: 49407}))
    merges = ["#version: 0.2", *map(" ".join, reference.bpe_ranks)]
    (folder / "merges.txt").write_text("\n".join(merges) + "\n")
    files = str(folder / "vocab.json"), str(folder / "merges.txt")
    CLIPTokenizerFast(*files, model_max_length=77).save_pretrained(folder)


def _write_onnx(folder: Path, checkpoint: Path) -> None:
    """Export open_clip's own modules, as Immich's exporter does."""
    import torch

    model, _, _ = import_open_clip().create_model_and_transforms(f"local-dir:{checkpoint}")
    model.eval()
    for name, method, example in (
        ("visual", model.encode_image, torch.zeros(2, 3, 224, 224)),
        ("textual", model.encode_text, torch.zeros(2, 77, dtype=torch.int64)),
    ):
        model.forward = method
        torch.onnx.export(
            model, (example,), folder / f"{name}.onnx", dynamo=False, opset_version=17,
            input_names=["input"], output_names=["output"],
            dynamic_axes={"input": {0: "n"}, "output": {0: "n"}},
        )  # fmt: skip
    _write_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps({"image_size": 224}))


def write_layouts() -> None:
    """Write both layouts, unless they are there."""
    checkpoint = checkpoint_of("clip")
    for target, write in ((TRANSFORMERS, _write_transformers), (ONNX, _write_onnx)):
        if not target.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as folder:
                write(folder, checkpoint)


if __name__ == "__main__":
    write_layouts()
