"""Write checkpoints of real size with random weights, for benchmarks without a model hub."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.models.spec import ModelSpec
from common.models.torch_engine import runtime  # noqa: F401 - it must come before open_clip
from common.models.weights import MCLIP_TOKENIZER
from export.fidelity import evaluation_texts
from export.vocabulary import write_vocabulary

SEED = 7
MAX_PIECE_CHARS = 16
SPECIAL_IDS = 5  # <s>, <pad>, </s>, <unk>, <mask>
XLMR_LARGE = {
    "vocab_size": 250_002, "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
    "intermediate_size": 4096, "max_position_embeddings": 514, "type_vocab_size": 1,
    "layer_norm_eps": 1e-5, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def write_random_weights(spec: ModelSpec, weights_dir: Path) -> None:
    """Write random weights where the torch engine reads them: `<weights_dir>/<model>/<tower>/`.

    A model with one file for both towers has them in `<weights_dir>/<model>/`.
    """
    folder = spec.folder_in(weights_dir)
    if spec.text == spec.image:  # one file holds both towers
        WRITERS[spec.text.family](folder, spec.text, spec)
    else:
        WRITERS[spec.text.family](folder / "text", spec.text, spec)
        WRITERS[spec.image.family](folder / "image", spec.image, spec)


def _write_open_clip(folder: Path, tower: Any, spec: ModelSpec) -> None:  # noqa: ARG001
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    model = open_clip.CLIP(**open_clip.get_model_config(tower.architecture))
    folder.mkdir(parents=True)
    tensors = {
        name: tensor.contiguous()
        for name, tensor in model.state_dict().items()
        if name != "attn_mask"
    }
    save_file(tensors, folder / "open_clip_model.safetensors")


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


def _random_pieces(count: int) -> list[tuple[str, float]]:
    """Random vocabulary pieces, each with a log probability.

    The words of the evaluation texts are whole pieces, as in the real vocabulary.
    """
    draw = random.Random(SEED)  # noqa: S311 - not for secrets
    letters = "abcdefghijklmnopqrstuvwxyzабвгдежзийклмнопрстуфхцчшщыэюя你好世界语言图像狐狸"
    words = {f"▁{letter}" for letter in letters} | set(letters) | {"▁"}
    whole = {
        f"▁{word}"
        for text in evaluation_texts()
        for word in text.split()
        if len(word) < MAX_PIECE_CHARS
    }
    words |= whole
    while len(words) < count:
        word = "".join(draw.choices(letters, k=draw.randint(2, 9)))
        words.add(word if draw.random() < 0.3 else f"▁{word}")
    return [(word, -5.0 if word in whole else -draw.uniform(5, 15)) for word in sorted(words)]
