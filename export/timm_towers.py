"""Plain image towers for timm's vision transformers, such as SigLIP's."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from common.models.spec import Preprocessing
from export.towers import (
    Unsupported,
    activation_of,
    attend,
    block_of,
    patch_layer,
    patches_of,
    split,
)


class LatentPool(nn.Module):
    """SigLIP's attention pooling with one learned query.

    The query is the same for all images, so it is computed once, in the constructor.
    """

    def __init__(self, pool: Any) -> None:
        super().__init__()
        kind = type(pool).__name__
        if kind != "AttentionPoolLatent" or pool.latent_len != 1 or pool.pos_embed is not None:
            raise Unsupported(kind)
        if not (isinstance(pool.q_norm, nn.Identity) and isinstance(pool.k_norm, nn.Identity)):
            raise Unsupported("query normalisation")
        self.query = pool.q(pool.latent).detach().reshape(1, 1, -1)
        self.key, self.value = split(pool.kv, 2)
        self.heads = pool.num_heads
        self.out = pool.proj
        self.norm = pool.norm
        self.up = pool.mlp.fc1
        self.down = pool.mlp.fc2
        self.activation = activation_of(pool.mlp.act)

    def forward(self, x: Tensor, count: int) -> Tensor:
        """(count · places, width) → (count, width)."""
        width = x.shape[1]
        key, value = (layer(x).reshape(count, -1, width) for layer in (self.key, self.value))
        query = self.query.expand(count, 1, width)
        x = self.out(attend(query, key, value, self.heads, False, None).reshape(count, width))
        pooled: Tensor = x + self.down(self.activation(self.up(self.norm(x))))
        return pooled


class PlainTimmImage(nn.Module):
    """A timm VisionTransformer for raw pixels, pooled by a latent query or at its class token."""

    def __init__(self, module: Any, preprocessing: Preprocessing) -> None:
        super().__init__()
        trunk: Any = getattr(module, "trunk", None)
        kind = type(trunk).__name__
        if not isinstance(module, TimmModel) or kind != "VisionTransformer":
            raise Unsupported(kind)
        if trunk.reg_token is not None or trunk.dynamic_img_size or trunk.no_embed_class:
            raise Unsupported("register tokens or another kind of positions")
        if trunk.attn_pool is None and (trunk.global_pool != "token" or trunk.cls_token is None):
            raise Unsupported(f"pooling {trunk.global_pool!r}")
        self.patch = trunk.patch_embed.patch_size[0]
        self.grid = trunk.patch_embed.grid_size[0]
        self.embed = patch_layer(trunk.patch_embed.proj, preprocessing)
        self.start = trunk.cls_token
        self.positions = trunk.pos_embed
        self.norm_in = nn.Sequential(trunk.patch_embed.norm, trunk.norm_pre)
        self.blocks = nn.ModuleList(block_of(block) for block in trunk.blocks)
        self.norm_out = trunk.norm
        self.pool = None if trunk.attn_pool is None else LatentPool(trunk.attn_pool)
        self.skipped = 0 if trunk.pool_include_prefix else trunk.num_prefix_tokens
        self.head = nn.Sequential(trunk.fc_norm, trunk.head, module.head)

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, size, size, 3) uint8 → (n, dimensions) of unit norm."""
        count = pixels.shape[0]
        x = self.embed(patches_of(pixels, self.grid, self.patch))
        x = x.reshape(count, self.grid**2, -1)
        if self.start is not None:
            x = torch.cat([self.start.expand(count, 1, -1), x], 1)
        places = x.shape[1]
        x = self.norm_in(x + self.positions).flatten(0, 1)
        for block in self.blocks:
            x = block(x, count, False)
        x = self.norm_out(x)
        if self.pool is None:
            x = x[torch.arange(count) * places]  # the class token
        else:
            if self.skipped:  # the pooling leaves out the class token
                x = x.reshape(count, places, -1)[:, self.skipped :].flatten(0, 1)
            x = self.pool(x, count)
        return F.normalize(self.head(x), dim=-1)
