"""The towers written plainly for export: ONNX Runtime's fused attention, no transposes, no mask, unit vectors out.

Built from a loaded reference module, whose tensors they share. They can be exported, not run: the fused operator has no
implementation in torch. What does not fit here is exported as the reference module that it is (`Whole*`).
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
import torch.onnx.ops
from multilingual_clip.pt_multilingual_clip import MultilingualCLIP
from open_clip.hf_model import ClsLastHiddenStatePooler, HFTextEncoder, MeanPooler
from open_clip.transformer import (
    LayerScale,
    QuickGELU,
    ResidualAttentionBlock,
    TextTransformer,
    VisionTransformer,
)
from timm.layers.layer_scale import LayerScale as TimmLayerScale
from timm.models.vision_transformer import Block as TimmBlock
from torch import Tensor, nn
from transformers import BertModel, RobertaModel, XLMRobertaModel

from common.models.spec import Preprocessing
from common.models.torch_engine.open_clip_towers import can_cut


class Unsupported(Exception):
    """The reference module does something that the plain towers do not."""


def attend(
    query: Tensor, key: Tensor, value: Tensor, heads: int, causal: bool, lengths: Tensor | None
) -> Tensor:
    """ONNX Runtime's fused attention over (n, length, width); `lengths` (n,) int32: how many keys of a row count."""
    inputs = (query, key, value) if lengths is None else (query, key, value, None, lengths)
    attributes: dict[str, Any] = {"num_heads": heads, "unidirectional": int(causal)}
    return torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        inputs,
        attributes,
        dtype=query.dtype,
        shape=query.shape,
        version=1,
    )


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A layer that holds these very tensors, weight (out, in)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


def quick_gelu(x: Tensor) -> Tensor:
    """OpenAI CLIP's approximation, x · sigmoid(1.702 x), as one operator."""
    return torch.onnx.ops.symbolic(
        "com.microsoft::QuickGelu", (x,), {"alpha": 1.702}, dtype=x.dtype, shape=x.shape, version=1
    )


class Attention(nn.Module):
    """Self-attention over (count · length, width): two dimensions, as all that is no attention itself sees one row.

    The keys' bias adds the same to all logits of a query, which softmax does not see. The values' bias comes through
    the average whole, so it is part of the last one.
    """

    def __init__(
        self, query: nn.Linear, key: nn.Linear, value: nn.Linear, out: nn.Linear, heads: int
    ) -> None:
        super().__init__()
        self.query, self.key, self.value, self.heads = (
            query,
            linear(key.weight),
            linear(value.weight),
            heads,
        )
        self.out = linear(out.weight, out.bias + out.weight @ value.bias)

    def forward(
        self, x: Tensor, count: int, causal: bool = False, lengths: Tensor | None = None
    ) -> Tensor:
        """(count · length, width) → the same shape."""
        return self.pool(x, x, count, causal, lengths)

    def pool(
        self,
        rows: Tensor,
        x: Tensor,
        count: int,
        causal: bool = False,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """`rows` (count · any, width) attend to their text's or picture's places in `x` → the shape of `rows`."""
        width = x.shape[1]
        query, key, value = (
            layer(given).reshape(count, -1, width)
            for layer, given in ((self.query, rows), (self.key, x), (self.value, x))
        )
        attended = attend(query, key, value, self.heads, causal, lengths)
        joined: Tensor = self.out(attended.reshape(-1, width))
        return joined


class PreNormBlock(nn.Module):
    """open_clip's ResidualAttentionBlock; layer scales are folded into the weights that they follow."""

    def __init__(self, block: ResidualAttentionBlock) -> None:
        super().__init__()
        if (
            type(block) is not ResidualAttentionBlock
            or type(block.attn) is not nn.MultiheadAttention
        ):
            raise Unsupported(type(block).__name__)
        self.norm1, self.norm2 = block.ln_1, block.ln_2
        weights, biases = block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3)
        query, key, value = (
            linear(weight, bias) for weight, bias in zip(weights, biases, strict=True)
        )
        self.attention = Attention(
            query, key, value, scaled(block.attn.out_proj, block.ls_1), block.attn.num_heads
        )
        self.up, self.down = block.mlp.c_fc, scaled(block.mlp.c_proj, block.ls_2)
        self.activation = activation_of(block.mlp.gelu)

    def forward(self, x: Tensor, count: int, causal: bool) -> Tensor:
        """(count · length, width) → the same shape."""
        return self.map(x + self.attention(self.norm1(x), count, causal))

    def pool(self, x: Tensor, at: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The same for the rows `at` (count,) alone: what the last block makes of the others nobody reads."""
        normed = self.norm1(x)
        return self.map(
            x[at] + self.attention.pool(normed[at], normed, at.shape[0], lengths=lengths)
        )

    def map(self, x: Tensor) -> Tensor:
        """The block's second half, (rows, width) → the same shape."""
        mapped: Tensor = x + self.down(self.activation(self.up(self.norm2(x))))
        return mapped


def activation_of(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """A GELU of any kind, as the exporter writes it best. Raises Unsupported."""
    if type(layer) is QuickGELU:
        return quick_gelu
    if type(layer) is nn.GELU:
        return partial(F.gelu, approximate=layer.approximate)
    raise Unsupported(type(layer).__name__)


class PreNormBlocks(nn.Module):
    """The blocks of a tower that is pooled at one place of each text or picture."""

    def __init__(self, blocks: Iterable[nn.Module], causal: bool) -> None:
        super().__init__()
        *first, self.last = (block_of(block) for block in blocks)
        self.first, self.causal = nn.ModuleList(first), causal

    def forward(self, x: Tensor, at: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(count · length, width) and the pooled rows `at` (count,) → (count, width).

        The pooled row attends to the first `lengths` (count,) places.
        """
        for block in self.first:
            x = block(x, at.shape[0], self.causal)
        pooled: Tensor = self.last.pool(x, at, lengths)
        return pooled


class TimmPreNormBlock(PreNormBlock):
    """timm's Block, of the same shape."""

    def __init__(self, block: Any) -> None:
        nn.Module.__init__(self)
        attention = block.attn
        if not all(isinstance(norm, nn.Identity) for norm in (attention.q_norm, attention.k_norm)):
            raise Unsupported("its norm of queries")
        self.norm1, self.norm2 = block.norm1, block.norm2
        query, key, value = split(attention.qkv, 3)
        out = scaled(attention.proj, block.ls1)
        self.attention = Attention(query, key, value, out, attention.num_heads)
        self.up, self.down = block.mlp.fc1, scaled(block.mlp.fc2, block.ls2)
        self.activation = activation_of(block.mlp.act)


def block_of(block: nn.Module) -> PreNormBlock:
    """The plain block that fits. Raises Unsupported."""
    return TimmPreNormBlock(block) if type(block) is TimmBlock else PreNormBlock(block)


def split(layer: nn.Linear, parts: int) -> list[nn.Linear]:
    """A layer that holds several, one above the other; one without a bias gets a bias of zeros."""
    bias = torch.zeros(layer.out_features) if layer.bias is None else layer.bias
    pairs = zip(layer.weight.chunk(parts), bias.chunk(parts), strict=True)
    return [linear(weight, part) for weight, part in pairs]


def scaled(layer: nn.Linear, scale: nn.Module) -> nn.Linear:
    """`scale` after `layer`, as one layer."""
    if not isinstance(scale, LayerScale | TimmLayerScale):
        return layer
    return linear(layer.weight * scale.gamma[:, None], layer.bias * scale.gamma)


class PlainImage(nn.Module):
    """A VisionTransformer that takes raw pixels: the normalisation is folded into the patch embedding."""

    def __init__(self, module: VisionTransformer, preprocessing: Preprocessing) -> None:
        super().__init__()
        if (
            type(module) is not VisionTransformer
            or module.attn_pool is not None
            or module.pool_type != "tok"
        ):
            raise Unsupported(type(module).__name__)
        if module.final_ln_after_pool or not isinstance(module.patch_dropout, nn.Identity):
            raise Unsupported("its pooling")
        self.patch, self.grid = module.patch_size[0], module.grid_size[0]
        self.embed = patch_layer(module.conv1, preprocessing)
        self.start = module.class_embedding + module.positional_embedding[0]
        self.positions = module.positional_embedding[1:]
        self.norm_in, self.norm_out, self.projection = module.ln_pre, module.ln_post, module.proj
        self.blocks = PreNormBlocks(module.transformer.resblocks, causal=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, size, size, 3) uint8 → (n, dimensions) of unit norm."""
        count, grid, patch = pixels.shape[0], self.grid, self.patch
        patches = pixels.reshape(count, grid, patch, grid, patch * 3).permute(0, 1, 3, 2, 4)
        x = self.embed(patches.reshape(count * grid * grid, patch * patch * 3).float())
        x = x.reshape(count, grid * grid, -1) + self.positions
        x = self.norm_in(torch.cat([self.start.expand(count, 1, -1), x], 1))
        at = torch.arange(count) * x.shape[1]  # the class token alone: one row a picture
        x = self.norm_out(self.blocks(x.flatten(0, 1), at))
        return F.normalize(x if self.projection is None else x @ self.projection, dim=-1)


def patch_layer(convolution: nn.Conv2d, preprocessing: Preprocessing) -> nn.Linear:
    """The patch convolution over (value / 255 - mean) / std as one layer over raw values, ordered y, x, channel."""
    weight = convolution.weight.double()  # (width, 3, patch, patch)
    mean, std = (
        torch.tensor(values).double().view(3, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    bias = -(weight * (mean / std)).sum((1, 2, 3))
    if convolution.bias is not None:
        bias += convolution.bias
    weight = (weight / (255 * std)).permute(0, 2, 3, 1).flatten(1)
    return linear(weight.float().contiguous(), bias.float())


class PlainText(nn.Module):
    """A TextTransformer pooled at one token. `cuts`: causal and pooled at the end token, so texts have any length."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        if not isinstance(module, TextTransformer) or module.pool_type not in ("argmax", "last"):
            raise Unsupported(type(module).__name__)
        if module.cls_emb is not None or module.use_pad_mask:
            raise Unsupported("its class token or padding mask")
        self.causal, self.pools_last = module.attn_mask is not None, module.pool_type == "last"
        self.cuts = can_cut(module) and not self.pools_last
        self.embed, self.positions = module.token_embedding, module.positional_embedding
        self.norm_out, self.projection = module.ln_final, module.text_projection
        self.blocks = PreNormBlocks(module.transformer.resblocks, causal=self.causal)

    def forward(self, ids: Tensor) -> Tensor:
        """(n, length) int64 → (n, dimensions) of unit norm."""
        count, length = ids.shape
        x = (
            self.embed(ids) + self.positions[torch.arange(length)]
        )  # a slice would fix the length in the export
        x = x.flatten(0, 1)
        starts = torch.arange(count) * length
        ends = torch.full_like(starts, length - 1) if self.pools_last else ids.argmax(-1)
        lengths = (
            (ends + 1).to(torch.int32) if self.causal else None
        )  # the last block's, of one row a text
        x = self.norm_out(self.blocks(x, starts + ends, lengths))
        if isinstance(self.projection, nn.Linear):
            x = self.projection(x)
        elif self.projection is not None:
            x = x @ self.projection
        return F.normalize(x, dim=-1)


class PostNormBlock(nn.Module):
    """XLM-RoBERTa's layer."""

    def __init__(self, layer: Any, heads: int) -> None:
        super().__init__()
        own, output = layer.attention.self, layer.attention.output
        self.attention = Attention(own.query, own.key, own.value, output.dense, heads)
        self.norm1, self.norm2 = output.LayerNorm, layer.output.LayerNorm
        self.up, self.down = layer.intermediate.dense, layer.output.dense

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(n · length, width) → the same shape."""
        x = self.norm1(x + self.attention(x, lengths.shape[0], lengths=lengths))
        mapped: Tensor = self.norm2(x + self.down(F.gelu(self.up(x))))
        return mapped


class PlainBert(nn.Module):
    """A BERT-like encoder, the mean over a text's tokens or its first one, a projection; texts have any length."""

    cuts = True

    def __init__(self, base: Any, projection: nn.Module, means: bool) -> None:
        super().__init__()
        if type(base) not in (XLMRobertaModel, RobertaModel, BertModel):
            raise Unsupported(type(base).__name__)
        if base.config.hidden_act != "gelu" or base.config.position_embedding_type != "absolute":
            raise Unsupported(f"{base.config.hidden_act}, {base.config.position_embedding_type}")
        embeddings = base.embeddings
        self.pad_id, self.means = int(base.config.pad_token_id), means
        self.embed, self.norm_in = embeddings.word_embeddings, embeddings.LayerNorm
        # RoBERTa counts positions from behind the padding index; the token type is the same for all.
        first = 0 if type(base) is BertModel else self.pad_id + 1
        positions = embeddings.position_embeddings.weight[first:]
        self.positions = positions + embeddings.token_type_embeddings.weight[0]
        self.blocks = nn.ModuleList(
            PostNormBlock(layer, base.config.num_attention_heads) for layer in base.encoder.layer
        )
        self.projection = projection

    def forward(self, ids: Tensor) -> Tensor:
        """(n, length) int64, padded behind → (n, dimensions) of unit norm."""
        mask = ids != self.pad_id
        lengths = mask.sum(1, dtype=torch.int32)
        x = self.norm_in(self.embed(ids) + self.positions[torch.arange(ids.shape[1])]).flatten(0, 1)
        for block in self.blocks:
            x = block(x, lengths)
        x = x.reshape(*ids.shape, -1)
        x = (x * mask.unsqueeze(2)).sum(1) / lengths.unsqueeze(1) if self.means else x[:, 0]
        return F.normalize(self.projection(x), dim=-1)


def plain_multilingual(module: Any) -> PlainBert:
    """M-CLIP's text tower. Raises Unsupported for another."""
    if not isinstance(module, MultilingualCLIP):
        raise Unsupported(type(module).__name__)
    return PlainBert(module.transformer, module.LinearTransformation, means=True)


def plain_hf_text(module: Any) -> PlainBert:
    """open_clip's adapter around a Hugging Face encoder. Raises Unsupported for another."""
    if not isinstance(module, HFTextEncoder):
        raise Unsupported(type(module).__name__)
    if isinstance(module.pooler, MeanPooler):
        return PlainBert(module.transformer, module.proj, means=True)
    if isinstance(module.pooler, ClsLastHiddenStatePooler):
        return PlainBert(module.transformer, module.proj, means=False)
    raise Unsupported(type(module.pooler).__name__)
