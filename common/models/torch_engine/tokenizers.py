"""Choose the tokenizer of an open_clip model and convert it to ours."""

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
from common.models.weights import hub_file, read_json, verify_tokenizer

CLIP_VOCABULARY = 49408
TOKENIZER_CONFIG = "tokenizer_config.json"
CLEANINGS: dict[object, Cleaning] = {
    reference.get_clean_fn(name): name for name in ("whitespace", "lower", "canonicalize")
}


class ReferenceTokenizer:
    """open_clip's own tokenizer, for the few models that shorten texts in their own way.

    It pads to the context length.
    """

    def __init__(self, tokenizer: Any, context_length: int) -> None:
        self._tokenizer = tokenizer
        self.context_length = context_length

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """The token ids of each text, padded.

        A text counts as cut if its last id is not padding.
        """
        rows = self._tokenizer(list(texts), context_length=self.context_length).numpy()
        return [Tokens(row.astype(np.int64), bool(len(set(row[-2:])) == 2)) for row in rows]

    def describe(self) -> dict[str, Any]:
        """The kind of this tokenizer; a bundle cannot store it."""
        return {"tokenizer": "reference"}

    def vocabulary_sha256(self) -> str:
        """The sha256 over all tokens and their ids."""
        inner = getattr(self._tokenizer, "tokenizer", self._tokenizer)
        vocabulary = inner.get_vocab() if hasattr(inner, "get_vocab") else inner.encoder
        return hashlib.sha256(json.dumps(sorted(vocabulary.items())).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Raise NotImplementedError: a bundle cannot store this tokenizer."""
        raise NotImplementedError("only open_clip can run its tokenizer")


AnyTokenizer = ClipTokenizer | JsonTokenizer | XlmrTokenizer | ReferenceTokenizer


def build_tokenizer(
    architecture: str,
    text_config: Mapping[str, Any],
    cuts: bool,
    spec: ModelSpec,
    options: EngineOptions,
) -> AnyTokenizer:
    """Build the tokenizer of a model by its `text_cfg`, as open_clip.get_tokenizer does.

    `hf_tokenizer_name` is the hub repository or folder of a vocabulary other than CLIP's. If the
    tower `cuts` its batches, the token ids have no padding. Raises ModelUnavailable.
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
    """Build a tokenizer from the hub's files. Raises ModelUnavailable.

    sentencepiece reads XLM-RoBERTa's vocabulary, in an eighth of the memory.
    """
    folder = hub_file(name, (TOKENIZER_CONFIG, "config.json"), spec, options).parent
    verify_tokenizer(folder, spec)
    if _is_xlm_roberta(folder, spec) and not settings:
        vocabulary = hub_file(name, (XLMR_FILE,), spec, options)
        return XlmrTokenizer(vocabulary, context_length, "whitespace")
    hub_file(name, (JSON_FILE, "vocab.json", "vocab.txt"), spec, options)
    tokenizer = reference.HFTokenizer(str(folder), context_length=context_length, **settings)
    found = from_hub(tokenizer, context_length, padded=not cuts)
    return found or ReferenceTokenizer(tokenizer, context_length)


def _is_xlm_roberta(folder: Path, spec: ModelSpec) -> bool:
    """Whether the configuration of the model or of the tokenizer names XLM-RoBERTa.

    Repositories have one of the two files, or both.
    """
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
    """Convert open_clip's wrapper of a transformers tokenizer; None without a `tokenizer.json`."""
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
