"""Augments emoji images with batched tensor operations that imitate unseen styles."""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

LUMA = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)


def _uniform(count: int, low: float, high: float) -> Tensor:
    """(count, 1, 1, 1) numbers."""
    return torch.empty(count, 1, 1, 1).uniform_(low, high)


def _sometimes(probability: float, changed: Tensor, images: Tensor) -> Tensor:
    """Each image of `changed` with `probability`, else that of `images`."""
    return torch.where(torch.rand(len(images), 1, 1, 1) < probability, changed, images)


def _warp(rgba: Tensor, strength: float) -> Tensor:
    """Small rotations, shifts, and scales per axis. `rgba` is (n, 4, s, s), premultiplied alpha."""
    count = len(rgba)
    angle = torch.empty(count).uniform_(-0.3, 0.3) * (torch.rand(count) < 0.7) * strength
    scale_x, scale_y = 1 + strength * torch.empty(2, count).uniform_(-0.15, 0.3)
    stretch = torch.rand(count) < 0.5
    scale_y = torch.where(stretch, scale_y, scale_x)
    shift = torch.empty(count, 2).uniform_(-0.15, 0.15) * strength
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = torch.stack(
        [cos * scale_x, -sin * scale_y, shift[:, 0], sin * scale_x, cos * scale_y, shift[:, 1]], 1
    )
    return F.grid_sample(
        rgba,
        F.affine_grid(rows.view(-1, 2, 3), list(rgba.shape), align_corners=False),
        align_corners=False,
    )


def _on_background(rgba: Tensor, strength: float) -> Tensor:
    """Composite on white (most of them), grey or any colour. Returns (n, 3, s, s)."""
    count = len(rgba)
    white, colour = torch.ones(count, 3, 1, 1), torch.rand(count, 3, 1, 1)
    grey = _uniform(count, 0, 1).expand(-1, 3, -1, -1)
    background = _sometimes(0.25 * strength, colour, _sometimes(0.2 * strength, grey, white))
    return rgba[:, :3] + (1 - rgba[:, 3:]) * background


def _turn_hue(images: Tensor, angle: Tensor) -> Tensor:
    """Rotate colours around the grey axis (Rodrigues' formula) by `angle` (n, 1, 1, 1) radians."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    mean = images.mean(1, keepdim=True)
    crossed = (images.roll(1, 1) - images.roll(-1, 1)) / math.sqrt(3)
    return mean * (1 - cos) + images * cos + crossed * sin


def augment(rgba: Tensor, strength: float = 1.0) -> Tensor:
    """Augments images: (n, 4, s, s) uint8, straight alpha → (n, 3, s, s) float32 in 0..1.

    `strength` is between 0 and 1.
    """
    pixels = rgba.float() / 255
    pixels = torch.cat([pixels[:, :3] * pixels[:, 3:], pixels[:, 3:]], 1)
    images = _on_background(_warp(pixels, strength), strength)
    count = len(images)
    grey = (images * LUMA).sum(1, keepdim=True).expand_as(images)
    images = _sometimes(0.5 * strength, grey + (images - grey) * _uniform(count, 0.4, 1.6), images)
    images = _sometimes(0.4 * strength, _turn_hue(images, _uniform(count, -0.5, 0.5)), images)
    images = _sometimes(0.08 * strength, grey, images)
    images = _sometimes(
        0.5 * strength, images * _uniform(count, 0.75, 1.15) + _uniform(count, -0.1, 0.1), images
    )
    images = _sometimes(0.15 * strength, torch.round(images * 4) / 4, images)
    images = _sometimes(0.15 * strength, F.avg_pool2d(images, 3, 1, 1), images)
    edges = images - F.avg_pool2d(images, 3, 1, 1)
    images = _sometimes(
        0.15 * strength, images - 2 * edges.abs().mean(1, keepdim=True), images
    )  # dark outlines
    return images.clamp(0, 1)
