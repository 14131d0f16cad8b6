"""Plain text towers for BERT's relatives, from M-CLIP and open_clip's Hugging Face adapter."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from multilingual_clip.pt_multilingual_clip import MultilingualCLIP
from open_clip.hf_model import ClsLastHiddenStatePooler, HFTextEncoder, MeanPooler
from torch import Tensor, nn
from transformers import BertModel, RobertaModel, XLMRobertaModel

from export.towers import Attention, Unsupported


class PostNormBlock(nn.Module):
    """A layer of XLM-RoBERTa, RoBERTa or BERT, whose norms follow the residuals."""

    def __init__(self, layer: Any, heads: int) -> None:
        super().__init__()
        own = layer.attention.self
        output = layer.attention.output
        self.attention = Attention(own.query, own.key, own.value, output.dense, heads)
        self.norm1 = output.LayerNorm
        self.norm2 = layer.output.LayerNorm
        self.up = layer.intermediate.dense
        self.down = layer.output.dense

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(n · length, width) → the same shape."""
        x = self.norm1(x + self.attention(x, lengths.shape[0], lengths=lengths))
        mapped: Tensor = self.norm2(x + self.down(F.gelu(self.up(x))))
        return mapped


class PlainBert(nn.Module):
    """A BERT-like encoder, a pooling and a projection; texts may have any length.

    It pools the mean over a text's tokens if `means` is set, else the first token.
    """

    cuts = True

    def __init__(self, base: Any, projection: nn.Module, means: bool) -> None:
        super().__init__()
        if type(base) not in (XLMRobertaModel, RobertaModel, BertModel):
            raise Unsupported(type(base).__name__)
        if base.config.hidden_act != "gelu" or base.config.position_embedding_type != "absolute":
            raise Unsupported(f"{base.config.hidden_act}, {base.config.position_embedding_type}")
        embeddings = base.embeddings
        self.pad_id = int(base.config.pad_token_id)
        self.means = means
        self.embed = embeddings.word_embeddings
        self.norm_in = embeddings.LayerNorm
        # RoBERTa's positions start after the padding index. All tokens have the same type.
        first = 0 if type(base) is BertModel else self.pad_id + 1
        positions = embeddings.position_embeddings.weight[first:]
        self.positions = positions + embeddings.token_type_embeddings.weight[0]
        self.blocks = nn.ModuleList(
            PostNormBlock(layer, base.config.num_attention_heads) for layer in base.encoder.layer
        )
        self.projection = projection

    def forward(self, ids: Tensor) -> Tensor:
        """(n, length) int64, padded on the right → (n, dimensions) of unit norm."""
        mask = ids != self.pad_id
        lengths = mask.sum(1, dtype=torch.int32)
        x = self.norm_in(self.embed(ids) + self.positions[torch.arange(ids.shape[1])]).flatten(0, 1)
        for block in self.blocks:
            x = block(x, lengths)
        x = x.reshape(*ids.shape, -1)
        x = (x * mask.unsqueeze(2)).sum(1) / lengths.unsqueeze(1) if self.means else x[:, 0]
        return F.normalize(self.projection(x), dim=-1)


def plain_multilingual(module: Any) -> PlainBert:
    """The plain tower for M-CLIP's text tower. Raises Unsupported for any other module."""
    if not isinstance(module, MultilingualCLIP):
        raise Unsupported(type(module).__name__)
    return PlainBert(module.transformer, module.LinearTransformation, means=True)


def plain_hf_text(module: Any) -> PlainBert:
    """The plain tower for open_clip's adapter around a Hugging Face encoder.

    Raises Unsupported for any other module, encoder or pooling.
    """
    if not isinstance(module, HFTextEncoder):
        raise Unsupported(type(module).__name__)
    if isinstance(module.pooler, MeanPooler):
        return PlainBert(module.transformer, module.proj, means=True)
    if isinstance(module.pooler, ClsLastHiddenStatePooler):
        return PlainBert(module.transformer, module.proj, means=False)
    raise Unsupported(type(module.pooler).__name__)
