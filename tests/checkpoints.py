"""Small checkpoints with random weights, in the formats of the big ones."""

import json
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceTrainer

from common.models.spec import ModelSpec, MultilingualTower, OpenClipTower
from common.models.weights import MCLIP_TOKENIZER
from export.fidelity import evaluation_texts
from tests.reference import import_open_clip

TINY = ModelSpec("tiny", "tiny", "", MultilingualTower(hub_repo="M-CLIP/tiny"), OpenClipTower())
TINY_PIECES = 120
HUB_PIECES = 600
UNCUT = ModelSpec("uncut", "uncut", "", OpenClipTower(), OpenClipTower())
MULTILINGUAL_TEXTS = [
    "Three blind horses",
    "Älgen är skogens konung!",
    "猫が好きです",
    "",
    "Вы знали? " * 5,
]


def make_tiny_mclip(folder: Path, dimensions: int = 16) -> None:
    """An M-CLIP checkpoint of 2022, a pickle with position_ids and a pooler, and its base model."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    corpus = [
        "Three blind horses listening to Mozart.",
        "Älgen är skogens konung!",
        "Вы знали?",
        "猫が好きです",
    ] * 20
    with (folder / MCLIP_TOKENIZER).open("wb") as file:
        SentencePieceTrainer.train(
            sentence_iterator=iter(corpus),
            model_writer=file,
            vocab_size=TINY_PIECES,
            hard_vocab_limit=False,
            normalization_rule_name="nmt_nfkc",
            minloglevel=2,
        )
    config = XLMRobertaConfig(  # type: ignore[no-untyped-call]
        vocab_size=TINY_PIECES + 2,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(1)
    base = XLMRobertaModel(config).eval()  # type: ignore[no-untyped-call]
    base.save_pretrained(folder / "base")
    for parameter in base.parameters():
        parameter.data.add_(
            torch.randn_like(parameter) * 0.1
        )  # what is served is not the base model's
    linear = torch.nn.Linear(128, dimensions)
    state = {f"transformer.{name}": tensor for name, tensor in base.state_dict().items()}
    state |= {
        f"LinearTransformation.{name}": tensor for name, tensor in linear.state_dict().items()
    }
    state["transformer.embeddings.position_ids"] = torch.arange(514).expand((1, -1)).clone()
    torch.save(state, folder / "pytorch_model.bin")


def make_uncut_model(folder: Path, **text_cfg: object) -> Any:
    """Returns an open_clip model whose text tower pools the last of all positions, as SigLIP's."""
    import torch
    from safetensors.torch import save_file

    config = {
        "embed_dim": 32,
        "vision_cfg": {
            "image_size": 32,
            "layers": 1,
            "width": 64,
            "patch_size": 16,
            "pool_type": "avg",
        },
        "text_cfg": {
            "context_length": 16,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 2,
        }
        | {"no_causal_mask": True, "pool_type": "last", "proj_bias": True}
        | text_cfg,
    }
    model = import_open_clip().CustomTextCLIP(**config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    folder.mkdir()
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": {}})
    )
    return model


def make_hub_tokenizer(folder: Path, kind: str) -> None:
    """A tokenizer in the hub's layout, trained on the evaluation texts.

    `kind` is `bert`, or `siglip`, which adds an end token to each text.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    texts = evaluation_texts()
    if kind == "bert":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        special = {
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
        }
        trainer: Any = trainers.WordPieceTrainer(
            vocab_size=HUB_PIECES, special_tokens=list(special.values())
        )
        tokenizer.train_from_iterator(texts, trainer)
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        special = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "</s>"}
        trainer = trainers.UnigramTrainer(
            vocab_size=HUB_PIECES, special_tokens=["</s>", "<unk>"], unk_token="<unk>"
        )
        tokenizer.train_from_iterator(texts, trainer)
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", 0)]
        )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
