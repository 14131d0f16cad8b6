"""Write checkpoints of real size with random weights, for benchmarks without a model hub.

Each is laid out as its repository is, so open_clip itself can load it (`local-dir:`).
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import ModelUnavailable
from common.models.spec import ModelSpec
from common.models.torch_engine import runtime  # noqa: F401 - it must come before open_clip
from common.models.weights import MCLIP_TOKENIZER, OPEN_CLIP_CONFIG
from export.fidelity import evaluation_texts
from export.vocabulary import write_gemma_tokenizer, write_vocabulary

SEED = 7
MAX_PIECE_CHARS = 16
SPECIAL_IDS = 5  # <s>, <pad>, </s>, <unk>, <mask>
# Words of short captions, each of which is one token, as in the real vocabularies.
CAPTION_WORDS = """a photo of red small dog cat house tree on beach in rain with two people and
    green car""".split()
_XLMR = {
    "vocab_size": 250_002, "max_position_embeddings": 514, "type_vocab_size": 1,
    "layer_norm_eps": 1e-5, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
XLMR_LARGE = _XLMR | {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
    "intermediate_size": 4096,
}  # fmt: skip
# The Hugging Face encoders whose shape is known here, because their hub is not asked.
HF_ENCODERS = {
    "xlm-roberta-base": _XLMR | {
        "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
}  # fmt: skip


def write_random_weights(spec: ModelSpec, weights_dir: Path) -> None:
    """Write random weights where the torch engine reads them: `<weights_dir>/<model>/<tower>/`.

    A model with one file for both towers has them in `<weights_dir>/<model>/`. Raises
    ModelUnavailable if a tower's shape is not known without the hub.
    """
    folder = spec.folder_in(weights_dir)
    if spec.text == spec.image:  # one file holds both towers
        WRITERS[spec.text.family](folder, spec.text, spec)
    else:
        WRITERS[spec.text.family](folder / "text", spec.text, spec)
        WRITERS[spec.image.family](folder / "image", spec.image, spec)


def _write_open_clip(folder: Path, tower: Any, spec: ModelSpec) -> None:
    import open_clip
    import torch
    from safetensors.torch import save_file

    config = open_clip.get_model_config(tower.architecture)
    if config is None:
        message = "random weights are for models whose shape open_clip knows by name"
        raise ModelUnavailable(f"model {spec.id}: {message}")
    folder.mkdir(parents=True)
    text = config["text_cfg"]
    if text.get("hf_model_name"):
        text |= _write_hf_encoder(folder, text["hf_model_name"], spec)
    elif text.get("hf_tokenizer_name"):
        write_gemma_tokenizer(_words(), text["vocab_size"], folder)
        text["hf_tokenizer_name"] = str(folder)
    torch.manual_seed(SEED)
    is_custom = config.pop("custom_text", False) or bool(text.get("hf_model_name"))
    model = (open_clip.CustomTextCLIP if is_custom else open_clip.CLIP)(**config)
    tensors = {
        name: tensor.contiguous()
        for name, tensor in model.state_dict().items()
        if not name.endswith("attn_mask")
    }
    save_file(tensors, folder / "open_clip_model.safetensors")
    entry = open_clip.pretrained.get_pretrained_cfg(tower.architecture, tower.pretrained)
    settings = ("mean", "std", "interpolation", "resize_mode")
    written = {
        "model_cfg": config | {"custom_text": is_custom},
        "preprocess_cfg": {name: entry[name] for name in settings if entry.get(name)},
    }
    (folder / OPEN_CLIP_CONFIG).write_text(json.dumps(written))


def _write_hf_encoder(folder: Path, name: str, spec: ModelSpec) -> dict[str, object]:
    """Write an encoder's configuration and vocabulary; return the `text_cfg` that names them."""
    from transformers import XLMRobertaConfig

    if name not in HF_ENCODERS:
        known = ", ".join(HF_ENCODERS)
        message = f"random weights are not possible for {name}, only for {known}"
        raise ModelUnavailable(f"model {spec.id}: {message}")
    config = XLMRobertaConfig(**HF_ENCODERS[name])  # type: ignore[no-untyped-call]
    config.save_pretrained(folder)
    write_vocabulary(_random_pieces(config.vocab_size - SPECIAL_IDS), folder / MCLIP_TOKENIZER)
    tokenizer = {"tokenizer_class": "XLMRobertaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    place = str(folder)
    return {"hf_model_name": place, "hf_tokenizer_name": place, "hf_model_pretrained": False}


def _write_multilingual(folder: Path, tower: Any, spec: ModelSpec) -> None:  # noqa: ARG001
    import torch
    from safetensors.torch import save_file
    from transformers import XLMRobertaConfig, XLMRobertaModel

    torch.manual_seed(SEED)
    config = XLMRobertaConfig(**XLMR_LARGE)  # type: ignore[no-untyped-call]
    model = XLMRobertaModel(config, add_pooling_layer=False)  # type: ignore[no-untyped-call]
    linear = torch.nn.Linear(config.hidden_size, spec.dimensions or 0)
    folder.mkdir(parents=True)
    tensors = {f"transformer.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {
        f"LinearTransformation.{name}": tensor for name, tensor in linear.state_dict().items()
    }
    save_file(tensors, folder / "model.safetensors")
    write_vocabulary(_random_pieces(config.vocab_size - SPECIAL_IDS), folder / MCLIP_TOKENIZER)


# Each family's function, which writes the files that the torch engine reads for that family.
WRITERS: dict[str, Callable[[Path, Any, ModelSpec], None]] = {
    "open_clip": _write_open_clip,
    "mclip": _write_multilingual,
}


def _words() -> list[str]:
    """The words of the evaluation texts and of captions, which random vocabularies know whole."""
    found = {word for text in evaluation_texts() for word in text.split()}
    return sorted({word for word in found | set(CAPTION_WORDS) if len(word) < MAX_PIECE_CHARS})


def _random_pieces(count: int) -> list[tuple[str, float]]:
    """Random vocabulary pieces, each with a log probability.

    The words of the evaluation texts are whole pieces, as in the real vocabulary.
    """
    draw = random.Random(SEED)  # noqa: S311 - not for secrets
    letters = "abcdefghijklmnopqrstuvwxyzабвгдежзийклмнопрстуфхцчшщыэюя你好世界语言图像狐狸"
    words = {f"▁{letter}" for letter in letters} | set(letters) | {"▁"}
    whole = {f"▁{word}" for word in _words()}
    words |= whole
    while len(words) < count:
        word = "".join(draw.choices(letters, k=draw.randint(2, 9)))
        words.add(word if draw.random() < 0.3 else f"▁{word}")
    return [(word, -5.0 if word in whole else -draw.uniform(5, 15)) for word in sorted(words)]
