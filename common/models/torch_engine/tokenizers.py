"""Which tokenizer an open_clip model has, and how it becomes ours."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
from open_clip import tokenizer as reference
from tokenizers import Tokenizer

from common.models.bundle import JSON_FILE, XLMR_FILE
from common.models.spec import Cleaning, EngineOptions, ModelSpec, Tokens
from common.models.tokenizer import ClipTokenizer, JsonTokenizer, XlmrTokenizer
from common.models.weights import hub_file, read_json

CLIP_VOCABULARY = 49408
TOKENIZER_CONFIG = "tokenizer_config.json"
CLEANINGS: dict[object, Cleaning] = {
    reference.get_clean_fn(name): name for name in ("whitespace", "lower", "canonicalize")
}


class ReferenceTokenizer:
    """open_clip's own, for the few models whose way of shortening texts is theirs alone; pads to the context length."""

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self._tokenizer, self.context_length = tokenizer, context_length

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """Padded token ids of each text. Whether a text was cut is taken from its last id: padding, or not."""
        rows = self._tokenizer(list(texts), context_length=self.context_length).numpy()
        return [Tokens(row.astype(np.int64), bool(len(set(row[-2:])) == 2)) for row in rows]

    def describe(self) -> dict[str, Any]:
        """Its kind alone: no bundle holds it."""
        return {"tokenizer": "reference"}

    def vocabulary_sha256(self) -> str:
        """Of all its tokens and their ids."""
        inner = getattr(self._tokenizer, "tokenizer", self._tokenizer)
        vocabulary = inner.get_vocab() if hasattr(inner, "get_vocab") else inner.encoder
        return hashlib.sha256(json.dumps(sorted(vocabulary.items())).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Raises NotImplementedError: no bundle can hold it."""
        raise NotImplementedError("its tokenizer is open_clip's alone")


AnyTokenizer = ClipTokenizer | JsonTokenizer | XlmrTokenizer | ReferenceTokenizer


def build_tokenizer(
    architecture: str,
    text_config: Mapping[str, Any],
    cuts: bool,
    spec: ModelSpec,
    options: EngineOptions,
) -> AnyTokenizer:
    """The tokenizer of a model by its `text_cfg`, as open_clip.get_tokenizer reads it.

    Another vocabulary than CLIP's is the hub's, or lies in the folder that `hf_tokenizer_name` is. A
    tower that cuts its batches gets token ids without padding. Raises ModelUnavailable.
    """
    context_length = int(text_config.get("context_length", 77))
    hub_name = text_config.get("hf_tokenizer_name")
    settings = text_config.get("tokenizer_kwargs") or {}
    if hub_name:
        return _hub_tokenizer(hub_name, context_length, settings, cuts, spec, options)
    if (
        not settings
        and not text_config.get("hf_model_name")
        and text_config.get("vocab_size", 0) in (0, CLIP_VOCABULARY)
    ):
        return ClipTokenizer(context_length)
    return ReferenceTokenizer(open_clip.get_tokenizer(architecture), context_length)


def _hub_tokenizer(
    name: str,
    context_length: int,
    settings: Mapping[str, Any],
    cuts: bool,
    spec: ModelSpec,
    options: EngineOptions,
) -> AnyTokenizer:
    """A tokenizer of the hub's; XLM-RoBERTa's is read by sentencepiece, in an eighth of the memory."""
    folder = hub_file(name, (TOKENIZER_CONFIG, "config.json"), spec, options).parent
    if _is_xlm_roberta(folder, spec) and not settings:
        vocabulary = hub_file(name, (XLMR_FILE,), spec, options)
        return XlmrTokenizer(vocabulary, context_length, "whitespace")
    hub_file(name, (JSON_FILE, "vocab.json", "vocab.txt"), spec, options)
    tokenizer = reference.HFTokenizer(str(folder), context_length=context_length, **settings)
    found = from_hub(tokenizer, context_length, padded=not cuts)
    return found or ReferenceTokenizer(tokenizer, context_length)


def _is_xlm_roberta(folder: Path, spec: ModelSpec) -> bool:
    """By its model's or its own configuration, of which repositories have one or both."""
    for name in ("config.json", TOKENIZER_CONFIG):
        config = read_json(folder / name, spec) if (folder / name).is_file() else {}
        if config.get("model_type") == "xlm-roberta":
            return True
        if str(config.get("tokenizer_class", "")).startswith("XLMRobertaTokenizer"):
            return True
    return False


def from_hub(
    tokenizer: reference.HFTokenizer, context_length: int, padded: bool = True
) -> JsonTokenizer | None:
    """open_clip's wrapper of a transformers tokenizer as its `tokenizer.json`; None where it has none."""
    inner: Any = tokenizer.tokenizer
    if tokenizer.tokenizer_mode or not inner.is_fast:
        return None
    fast = Tokenizer.from_str(inner.backend_tokenizer.to_str())
    fast.enable_truncation(context_length, direction=inner.truncation_side)
    fast.no_padding()
    if padded or inner.padding_side != "right":
        fast.enable_padding(
            direction=inner.padding_side,
            pad_id=inner.pad_token_id,
            pad_token=inner.pad_token,
            length=context_length,
        )
    erased_id = inner.sep_token_id if tokenizer.strip_sep_token else None
    return JsonTokenizer(fast, context_length, CLEANINGS[tokenizer.clean_fn], erased_id)
