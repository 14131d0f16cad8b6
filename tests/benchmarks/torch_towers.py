"""One encoder in the torch engine: its peak memory, and how far it is from the reference.

    python -m tests.benchmarks.torch_towers MODEL text|image

prints them as JSON. The memory is what the process had at most, above what its imports took.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.machine import usable_cores
from common.models import torch_engine
from common.models.catalog import resolve
from common.models.preprocess import normalize
from common.models.spec import EngineOptions, Vectors
from common.models.torch_engine import open_clip_towers  # noqa: F401 - before memory is measured
from tests.benchmarks.checkpoints import CHECKPOINTS, captions

ITEMS = 8


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1000


def measure(model: str, tower: str) -> dict[str, object]:
    """Load one encoder and encode; then load the reference beside it, and compare."""
    options = EngineOptions(CHECKPOINTS, allow_download=False, num_threads=usable_cores())
    spec, before = resolve(model), _peak_mb()
    encoder: Any
    items: list[Any]
    texts = captions(ITEMS)
    if tower == "text":
        encoder = torch_engine.load_text_encoder(spec, options)
        items = [tokens.ids for tokens in encoder.tokenize(texts)]
    else:
        encoder = torch_engine.load_image_encoder(spec, options)
        size = encoder.preprocessing.size
        random = np.random.default_rng(5)
        items = list(random.integers(0, 256, (ITEMS, size, size, 3)).astype(np.uint8))
    vectors = encoder.encode(items)
    peak = _peak_mb()
    weights = sum(tensor.nbytes for tensor in encoder.module.state_dict().values()) / 1e6
    expected = _expected(model, tower, texts, items, encoder)
    return {
        "weights_mb": round(weights),
        "peak_mb": round(peak - before),
        "imports_mb": round(before),
        "largest_difference": float(f"{np.abs(vectors - expected).max():.1e}"),
    }


def _expected(model: str, tower: str, texts: Sequence[str], items: Any, encoder: Any) -> Vectors:
    import torch

    from tests.benchmarks.eager import load_reference

    reference = load_reference(CHECKPOINTS / model)
    if tower == "text":
        return np.asarray(reference.encode_texts(texts))
    pixels = torch.from_numpy(normalize(items, encoder.preprocessing))
    return np.asarray(reference.encode_images(list(pixels)))


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
