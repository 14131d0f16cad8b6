"""Which tokenizer an open_clip model has, and how it becomes ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
from open_clip import tokenizer as reference
from tokenizers import Tokenizer

from common.models.spec import Cleaning, Tokens
from common.models.tokenizer import ClipTokenizer, JsonTokenizer

CLIP_VOCABULARY = 49408
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

    def save(self, folder: Path) -> dict[str, Any]:
        """Raises NotImplementedError: no bundle can hold it."""
        raise NotImplementedError("its tokenizer is open_clip's alone")


AnyTokenizer = ClipTokenizer | JsonTokenizer | ReferenceTokenizer


def build_tokenizer(architecture: str, text_config: Mapping[str, Any]) -> AnyTokenizer:
    """The tokenizer of a model by its `text_cfg`, as open_clip.get_tokenizer reads it.

    Another vocabulary than CLIP's is the hub's, or lies in the folder that `hf_tokenizer_name` is.
    """
    context_length = int(text_config.get("context_length", 77))
    hub_name, settings = text_config.get("hf_tokenizer_name"), text_config.get("tokenizer_kwargs") or {}
    if hub_name:
        tokenizer = reference.HFTokenizer(hub_name, context_length=context_length, **settings)
        return from_hub(tokenizer, context_length) or ReferenceTokenizer(tokenizer, context_length)
    if (
        not settings
        and not text_config.get("hf_model_name")
        and text_config.get("vocab_size", 0) in (0, CLIP_VOCABULARY)
    ):
        return ClipTokenizer(context_length)
    return ReferenceTokenizer(open_clip.get_tokenizer(architecture), context_length)


def from_hub(tokenizer: reference.HFTokenizer, context_length: int) -> JsonTokenizer | None:
    """open_clip's wrapper of a transformers tokenizer as its `tokenizer.json`; None where it has none."""
    inner: Any = tokenizer.tokenizer
    if tokenizer.tokenizer_mode or not inner.is_fast:
        return None
    fast = Tokenizer.from_str(inner.backend_tokenizer.to_str())
    fast.enable_truncation(context_length, direction=inner.truncation_side)
    fast.enable_padding(
        direction=inner.padding_side, pad_id=inner.pad_token_id, pad_token=inner.pad_token, length=context_length
    )
    erased_id = inner.sep_token_id if tokenizer.strip_sep_token else None
    return JsonTokenizer(fast, context_length, CLEANINGS[tokenizer.clean_fn], erased_id)
