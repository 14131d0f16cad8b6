"""Runs `clip-retrieval inference`. This file runs in clip-retrieval's own environment.

Arguments: the input, the output, the kind (images or texts), and the checkpoint of ViT-B/32.
torchvision's usual wheel does not fit a CPU build of torch: two operators, which nothing here
calls, must be declared first. clip-retrieval starts processes of its own, which run this module
again before anything else, so the declarations stand outside of `main`.
"""

import sys

import torch

ARCHITECTURE = "ViT-B-32-quickgelu"
OPERATOR = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


for operator in ("nms", "qnms"):
    torch.library.define(f"torchvision::{operator}", OPERATOR)


def main(source: str, output: str, kind: str, checkpoint: str) -> None:
    """Embed a folder of images, or of one text file per text."""
    from clip_retrieval.clip_inference.main import main as inference  # type: ignore[import-not-found]

    inference(
        source,
        output,
        clip_model=f"open_clip:{ARCHITECTURE}/{checkpoint}",
        enable_image=kind == "images",
        enable_text=kind == "texts",
        num_prepro_workers=2,
        batch_size=64,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
