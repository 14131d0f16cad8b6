"""Train the demo CLIP on emoji.

    python -m tests.training.train_demo emoji-data OUT --minutes 45

Each step scores a batch of images, of any style but the unseen one, against a caption of every
emoji. The text tower is so small that all these negatives cost less than the images. A stage's
difficulty, from 0 to 1, sets how strong the augmentation is and how evenly the styles are drawn.
The learning rate follows a cosine over the given time, so that a slow machine ends well too. The
weights written are an exponential moving average.
"""

import argparse
import copy
import json
import math
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.reference import import_open_clip
from tests.training.augment import augment
from tests.training.captions import Captions
from tests.training.data import UNSEEN_STYLE, Emoji

BATCH, SEED, PEAK_RATE, WARM_UP_STEPS, EMA = 256, 7, 1.2e-3, 40, 0.99
MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 64, "layers": 6, "width": 192, "head_width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 96, "heads": 3, "layers": 3},
}
PREPROCESS_CONFIG = {
    "mean": [0.48145466, 0.4578275, 0.40821073],  # OpenAI CLIP's
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def load_data(folder: Path) -> tuple[list[Emoji], dict[str, Tensor]]:
    """The emoji and, by style, their images (emoji, 4, 64, 64) uint8."""
    emoji = [Emoji(**item) for item in json.loads((folder / "emoji.json").read_text("utf-8"))]
    with np.load(folder / "images.npz") as arrays:
        return emoji, {
            style: torch.from_numpy(arrays[style]).permute(0, 3, 1, 2).contiguous()
            for style in arrays.files
        }


def normalise(images: Tensor) -> Tensor:
    """(n, 3, s, s) in 0..1 → the tower's input."""
    mean, std = (torch.tensor(PREPROCESS_CONFIG[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    return (images - mean) / std


class Sampler:
    """Draws batches of distinct emoji, each in one of the styles that have it."""

    def __init__(self, styles: dict[str, Tensor]) -> None:
        names = [name for name in styles if name != UNSEEN_STYLE]
        self._pictures = torch.stack([styles[name] for name in names])  # (styles, emoji, 4, s, s)
        weights = (
            self._pictures.flatten(2).any(2).float().T
        )  # (emoji, styles): 1 where there is an image
        self._weights = weights
        self._main = names.index("google")

    def draw(self, main_style_weight: float) -> tuple[Tensor, Tensor]:
        """(indices of the emoji (BATCH,), images (BATCH, 4, s, s)). Other styles weigh 1 each."""
        emoji = torch.randperm(len(self._weights))[:BATCH]
        weights = self._weights[emoji]
        weights[:, self._main] *= main_style_weight
        style = torch.multinomial(weights, 1).squeeze(1)
        return emoji, self._pictures[style, emoji]


def step_loss(model: torch.nn.Module, images: Tensor, emoji: Tensor, tokens: Tensor) -> Tensor:
    """Cross entropy of images against all captions, and of the batch's captions against images."""
    images = model.encode_image(normalise(images), normalize=True)  # type: ignore[operator]
    texts = encode_texts(model, tokens)
    logits = model.logit_scale.exp() * images @ texts.T  # type: ignore[operator]
    return (
        F.cross_entropy(logits, emoji)
        + F.cross_entropy(logits[:, emoji].T, torch.arange(len(emoji)))
    ) / 2


def encode_texts(model: Any, tokens: Tensor) -> Tensor:
    """Vectors of tokens (n, 77), in batches of like length."""
    order = tokens.argmax(1).argsort()
    vectors = torch.cat([_encode_short(model, tokens[chunk]) for chunk in order.chunk(6)])
    return vectors[order.argsort()]


def _encode_short(model: Any, tokens: Tensor) -> Tensor:
    """open_clip's encode_text, cut at the longest text: later tokens cannot change a vector."""
    length = int(tokens.argmax(1).max()) + 1
    tokens = tokens[:, :length]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    return F.normalize(x[torch.arange(len(x)), tokens.argmax(1)] @ model.text_projection, dim=-1)


def make_optimizer(model: torch.nn.Module) -> torch.optim.AdamW:
    """AdamW; weight decay for the matrices of the blocks alone."""
    named = dict(model.named_parameters())
    decayed = [
        tensor for name, tensor in named.items() if tensor.ndim >= 2 and "embedding" not in name
    ]
    others = [tensor for name, tensor in named.items() if tensor.ndim < 2 or "embedding" in name]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98))


def save(model: torch.nn.Module, folder: Path) -> None:
    """Write the checkpoint, half precision, in the layout of open_clip's hub repositories."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: tensor.detach().half().contiguous()
        for name, tensor in model.state_dict().items()
        if name != "attn_mask"
    }
    partial = folder / "partial.safetensors"
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.replace(folder / "open_clip_model.safetensors")
    config = {"model_cfg": MODEL_CONFIG, "preprocess_cfg": PREPROCESS_CONFIG}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")


def train(
    data: Path,
    out: Path,
    minutes: float,
    difficulty_range: tuple[float, float],
    resume: Path | None,
) -> None:
    """Train for `minutes`, from scratch or from a checkpoint; write to `out` now and then."""
    first, last = difficulty_range
    open_clip = import_open_clip()
    torch.manual_seed(SEED)
    emoji, styles = load_data(data)
    model = open_clip.CLIP(**MODEL_CONFIG)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(20))
    if resume:
        model.load_state_dict(
            {name: tensor.float() for name, tensor in load_file(resume).items()}, strict=False
        )
    average = copy.deepcopy(model)
    captions, sampler = Captions(emoji, SEED), Sampler(styles)
    tokenize = cache(lambda text: tokenizer([text])[0])
    tokenizer = open_clip.SimpleTokenizer()
    optimizer = make_optimizer(model)
    started, step = time.monotonic(), 0
    while (progress := (time.monotonic() - started) / (60 * minutes)) < 1:
        rate = (
            PEAK_RATE
            * min(1.0, (step + 1) / WARM_UP_STEPS)
            * 0.5
            * (1 + math.cos(math.pi * progress))
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        difficulty = first + (last - first) * progress
        chosen, pictures = sampler.draw(main_style_weight=2 / difficulty**2)
        tokens = torch.stack([tokenize(captions.draw(index)) for index in range(len(emoji))])
        loss = step_loss(model, augment(pictures, difficulty), chosen, tokens)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
            for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 1 - min(EMA, step / (step + 10)))
        if step % 25 == 0:
            seconds = time.monotonic() - started
            print(
                f"step {step}  loss {loss.item():.3f}"
                f"  {seconds:.0f} s  {seconds / step:.2f} s a step",
                flush=True,
            )
        if step % 200 == 0:
            save(average, out)
    save(average, out)
    print(f"{step} steps in {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--resume", type=Path, help="a checkpoint to start from")
    parser.add_argument(
        "--difficulty",
        type=float,
        nargs=2,
        default=(0.3, 0.8),
        help="of the first step and the last",
    )
    arguments = parser.parse_args()
    train(arguments.data, arguments.out, arguments.minutes, arguments.difficulty, arguments.resume)
