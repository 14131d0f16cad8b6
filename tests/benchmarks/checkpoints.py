"""Random weights of real size and their bundles, which the benchmarks keep between runs.

    python -m tests.benchmarks.checkpoints MODEL [bundle]

writes the checkpoint, or the bundle of it. Of a bundle it prints the seconds and the peak memory.
"""

import json
import resource
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from common.files import replacing
from common.machine import usable_cores
from common.models.bundle import MANIFEST, BundlePrecision
from common.models.catalog import resolve
from common.models.spec import EngineOptions, MultilingualTower
from tests.paths import ROOT

CHECKPOINTS = ROOT / "build" / "bench" / "checkpoints"
BUNDLES = ROOT / "build" / "bench" / "bundles"
PRECISIONS: tuple[BundlePrecision, ...] = ("int8", "fp32")


def precisions_of(model: str) -> tuple[BundlePrecision, ...]:
    """M-CLIP's float32 bundle takes 3 GB, and nobody serves it."""
    return PRECISIONS[:1] if isinstance(resolve(model).text, MultilingualTower) else PRECISIONS


def checkpoint_of(model: str) -> Path:
    """The folder of a model's random weights; they are written if they are not there."""
    from export.random_weights import write_random_weights  # it imports torch

    folder = resolve(model).folder_in(CHECKPOINTS)
    if not folder.is_dir():
        try:
            write_random_weights(resolve(model), CHECKPOINTS)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return folder


def write_bundle(model: str) -> dict[str, float]:
    """Write a model's bundle if it is not there; return what that took."""
    from export.build import BundleBuilder
    from export.progress import shown

    spec = resolve(model)
    folder = spec.folder_in(BUNDLES)
    if (folder / MANIFEST).is_file():
        return {}
    checkpoint = checkpoint_of(model)
    options = EngineOptions(
        checkpoint.parent, allow_download=False, device="cpu", num_threads=usable_cores()
    )
    started = time.monotonic()
    with replacing(folder) as build, shown() as progress:
        builder = BundleBuilder(spec, options, build, progress)
        manifest = builder.run(precisions_of(model), random_weights=True)
        (build / MANIFEST).write_text(manifest.model_dump_json(indent=2))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {"seconds": round(time.monotonic() - started, 1), "peak_mb": round(peak_mb)}


def captions(count: int, words: int = 7) -> list[str]:
    """Short captions of `words` words; each word is one token."""
    import numpy as np

    from export.random_weights import CAPTION_WORDS

    random = np.random.default_rng(count)
    return [" ".join(random.choice(CAPTION_WORDS, words)) for _ in range(count)]


def main(arguments: Sequence[str]) -> None:
    """Write the checkpoint or the bundle of one model."""
    model, *what = arguments
    if what:
        print(json.dumps(write_bundle(model)))
    else:
        checkpoint_of(model)


if __name__ == "__main__":
    main(sys.argv[1:])
