"""Plain towers for export: fused attention of ONNX Runtime, no transposes, no mask, unit vectors.

A plain tower is built from a loaded reference module and shares its tensors. It can be exported but
not run in torch, which does not implement the fused operator. A reference module that fits none of
these towers is exported as it is (`Whole*` in graphs.py).
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
import torch.onnx.ops
from open_clip.transformer import (
    LayerScale,
    QuickGELU,
    ResidualAttentionBlock,
    TextTransformer,
    VisionTransformer,
)
from timm.layers.activations import GELUTanh
from timm.layers.layer_scale import LayerScale as TimmLayerScale
from timm.models.vision_transformer import Block as TimmBlock
from torch import Tensor, nn

from common.models.spec import Preprocessing
from common.models.torch_engine.open_clip_towers import can_cut


class Unsupported(Exception):
    """The reference module has a feature that the plain towers do not support."""


def attend(
    query: Tensor, key: Tensor, value: Tensor, heads: int, causal: bool, lengths: Tensor | None
) -> Tensor:
    """Add ONNX Runtime's fused attention over (n, length, width) to the graph.

    `lengths` (n,) int32 says how many keys of each row count; None means all.
    """
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
    """A linear layer that shares these tensors; the weight is (out, in)."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


def quick_gelu(x: Tensor) -> Tensor:
    """OpenAI CLIP's approximation of GELU, x · sigmoid(1.702 x), as one operator."""
    return torch.onnx.ops.symbolic(
        "com.microsoft::QuickGelu", (x,), {"alpha": 1.702}, dtype=x.dtype, shape=x.shape, version=1
    )


class Attention(nn.Module):
    """Self-attention over (count · length, width).

    Tensors have two dimensions outside attention, because all other layers work on single rows.
    The keys' bias adds the same number to all logits of a query, and softmax ignores it. The
    values' bias passes through the average unchanged, so the output's bias includes it.
    """

    def __init__(
        self, query: nn.Linear, key: nn.Linear, value: nn.Linear, out: nn.Linear, heads: int
    ) -> None:
        super().__init__()
        self.query = query
        self.key = linear(key.weight)
        self.value = linear(value.weight)
        self.heads = heads
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
        """Let `rows` (count · any, width) attend to the places of their own item in `x`.

        The result has the shape of `rows`.
        """
        width = x.shape[1]
        query, key, value = (
            layer(given).reshape(count, -1, width)
            for layer, given in ((self.query, rows), (self.key, x), (self.value, x))
        )
        attended = attend(query, key, value, self.heads, causal, lengths)
        joined: Tensor = self.out(attended.reshape(-1, width))
        return joined


class PreNormBlock(nn.Module):
    """open_clip's ResidualAttentionBlock; layer scales are folded into the weights before them."""

    def __init__(self, block: ResidualAttentionBlock) -> None:
        super().__init__()
        if (
            type(block) is not ResidualAttentionBlock
            or type(block.attn) is not nn.MultiheadAttention
        ):
            raise Unsupported(type(block).__name__)
        self.norm1 = block.ln_1
        self.norm2 = block.ln_2
        weights = block.attn.in_proj_weight.chunk(3)
        biases = block.attn.in_proj_bias.chunk(3)
        query, key, value = (
            linear(weight, bias) for weight, bias in zip(weights, biases, strict=True)
        )
        self.attention = Attention(
            query, key, value, scaled(block.attn.out_proj, block.ls_1), block.attn.num_heads
        )
        self.up = block.mlp.c_fc
        self.down = scaled(block.mlp.c_proj, block.ls_2)
        self.activation = activation_of(block.mlp.gelu)

    def forward(self, x: Tensor, count: int, causal: bool) -> Tensor:
        """(count · length, width) → the same shape."""
        return self.map(x + self.attention(self.norm1(x), count, causal))

    def pool(self, x: Tensor, at: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Compute only the rows `at` (count,) → (count, width); the last block needs no others."""
        normed = self.norm1(x)
        return self.map(
            x[at] + self.attention.pool(normed[at], normed, at.shape[0], lengths=lengths)
        )

    def map(self, x: Tensor) -> Tensor:
        """The feed-forward half of the block, (rows, width) → the same shape."""
        mapped: Tensor = x + self.down(self.activation(self.up(self.norm2(x))))
        return mapped


def activation_of(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """The function of a GELU layer that exports best. Raises Unsupported for another layer."""
    if type(layer) is QuickGELU:
        return quick_gelu
    if type(layer) is GELUTanh:
        return partial(F.gelu, approximate="tanh")
    if type(layer) is nn.GELU:
        return partial(F.gelu, approximate=layer.approximate)
    raise Unsupported(type(layer).__name__)


class PreNormBlocks(nn.Module):
    """The blocks of a tower that is pooled at one place of each text or image."""

    def __init__(self, blocks: Iterable[nn.Module], causal: bool) -> None:
        super().__init__()
        *first, self.last = (block_of(block) for block in blocks)
        self.first = nn.ModuleList(first)
        self.causal = causal

    def forward(self, x: Tensor, at: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(count · length, width) and the pooled rows' indices `at` (count,) → (count, width).

        In the last block, a pooled row attends to the first `lengths` (count,) places of its item.
        """
        for block in self.first:
            x = block(x, at.shape[0], self.causal)
        pooled: Tensor = self.last.pool(x, at, lengths)
        return pooled


class TimmPreNormBlock(PreNormBlock):
    """timm's Block, which has the same structure as open_clip's block."""

    def __init__(self, block: Any) -> None:
        nn.Module.__init__(self)
        attention = block.attn
        if not all(isinstance(norm, nn.Identity) for norm in (attention.q_norm, attention.k_norm)):
            raise Unsupported("query normalisation")
        self.norm1 = block.norm1
        self.norm2 = block.norm2
        query, key, value = split(attention.qkv, 3)
        out = scaled(attention.proj, block.ls1)
        self.attention = Attention(query, key, value, out, attention.num_heads)
        self.up = block.mlp.fc1
        self.down = scaled(block.mlp.fc2, block.ls2)
        self.activation = activation_of(block.mlp.act)


def block_of(block: nn.Module) -> PreNormBlock:
    """The plain block for a reference block. Raises Unsupported if none fits."""
    return TimmPreNormBlock(block) if type(block) is TimmBlock else PreNormBlock(block)


def split(layer: nn.Linear, parts: int) -> list[nn.Linear]:
    """Split a layer that stacks several layers; without a bias, each part gets a bias of zeros."""
    bias = torch.zeros(layer.out_features) if layer.bias is None else layer.bias
    pairs = zip(layer.weight.chunk(parts), bias.chunk(parts), strict=True)
    return [linear(weight, part) for weight, part in pairs]


def scaled(layer: nn.Linear, scale: nn.Module) -> nn.Linear:
    """Fold a layer scale into the layer before it; any other `scale` leaves the layer as it is."""
    if not isinstance(scale, LayerScale | TimmLayerScale):
        return layer
    return linear(layer.weight * scale.gamma[:, None], layer.bias * scale.gamma)


class PlainImage(nn.Module):
    """open_clip's VisionTransformer for raw pixels; the patch embedding includes normalisation."""

    def __init__(self, module: VisionTransformer, preprocessing: Preprocessing) -> None:
        super().__init__()
        if (
            type(module) is not VisionTransformer
            or module.attn_pool is not None
            or module.pool_type != "tok"
        ):
            raise Unsupported(type(module).__name__)
        if module.final_ln_after_pool or not isinstance(module.patch_dropout, nn.Identity):
            raise Unsupported("pooling before the last norm, or patch dropout")
        self.patch = module.patch_size[0]
        self.grid = module.grid_size[0]
        self.embed = patch_layer(module.conv1, preprocessing)
        self.start = module.class_embedding + module.positional_embedding[0]
        self.positions = module.positional_embedding[1:]
        self.norm_in = module.ln_pre
        self.norm_out = module.ln_post
        self.projection = module.proj
        self.blocks = PreNormBlocks(module.transformer.resblocks, causal=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, size, size, 3) uint8 → (n, dimensions) of unit norm."""
        count = pixels.shape[0]
        x = self.embed(patches_of(pixels, self.grid, self.patch))
        x = x.reshape(count, self.grid**2, -1) + self.positions
        x = self.norm_in(torch.cat([self.start.expand(count, 1, -1), x], 1))
        at = torch.arange(count) * x.shape[1]  # only the class token: one row for each image
        x = self.norm_out(self.blocks(x.flatten(0, 1), at))
        return F.normalize(x if self.projection is None else x @ self.projection, dim=-1)


def patches_of(pixels: Tensor, grid: int, patch: int) -> Tensor:
    """Cut images into their patches: one row of patch × patch × 3 values for each."""
    count = pixels.shape[0]
    patches = pixels.reshape(count, grid, patch, grid, patch * 3).permute(0, 1, 3, 2, 4)
    return patches.reshape(count * grid * grid, patch * patch * 3).float()


def patch_layer(convolution: nn.Conv2d, preprocessing: Preprocessing) -> nn.Linear:
    """The patch convolution and the normalisation of pixels as one linear layer.

    It takes raw values, ordered y, x, channel, in place of (value / 255 - mean) / std.
    """
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
    """open_clip's TextTransformer, pooled at one token.

    It `cuts` if it is causal and pooled at the end token; then texts may have any length.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        if not isinstance(module, TextTransformer) or module.pool_type not in ("argmax", "last"):
            raise Unsupported(type(module).__name__)
        if module.cls_emb is not None or module.use_pad_mask:
            raise Unsupported("a class token or padding mask")
        self.causal = module.attn_mask is not None
        self.pools_last = module.pool_type == "last"
        self.cuts = can_cut(module) and not self.pools_last
        self.embed = module.token_embedding
        self.positions = module.positional_embedding
        self.norm_out = module.ln_final
        self.projection = module.text_projection
        self.blocks = PreNormBlocks(module.transformer.resblocks, causal=self.causal)

    def forward(self, ids: Tensor) -> Tensor:
        """(n, length) int64 → (n, dimensions) of unit norm."""
        count, length = ids.shape
        # A slice of the positions would fix the length in the exported graph.
        x = self.embed(ids) + self.positions[torch.arange(length)]
        x = x.flatten(0, 1)
        starts = torch.arange(count) * length
        ends = torch.full_like(starts, length - 1) if self.pools_last else ids.argmax(-1)
        # The last block attends with one row for each text, so it needs lengths in place of a mask.
        lengths = (ends + 1).to(torch.int32) if self.causal else None
        x = self.norm_out(self.blocks(x, starts + ends, lengths))
        if isinstance(self.projection, nn.Linear):
            x = self.projection(x)
        elif self.projection is not None:
            x = x @ self.projection
        return F.normalize(x, dim=-1)
