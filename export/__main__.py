"""Export a model to a bundle: `python -m export MODEL [--out weights] [--precisions int8,fp32]`.

Each tower is converted from torch to ONNX in each precision, and compared with the torch reference.
The complete bundle appears in one step as `<out>/<model>/`.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from common.config import get_settings
from common.errors import EmbeddingError
from common.files import replacing
from common.machine import usable_cores
from common.models.bundle import MANIFEST, BundlePrecision, Manifest
from common.models.catalog import resolve
from common.models.spec import EngineOptions, ModelSpec
from common.models.weights import pin
from export.build import BundleBuilder
from export.progress import shown
from export.random_weights import write_random_weights

PRECISIONS: tuple[BundlePrecision, ...] = ("fp32", "int8")


def main(arguments: Sequence[str]) -> int:
    """Run the export; return the exit status: 0, or 1 if it failed."""
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    parser.add_argument("model")
    parser.add_argument(
        "--out", type=Path, default=Path("weights"), help="write the bundle to OUT/MODEL"
    )
    parser.add_argument("--precisions", default="fp32,int8", help="fp32, int8, or both")
    parser.add_argument(
        "--random-weights",
        action="store_true",
        help="use random weights of real size, for benchmarks only",
    )
    parser.add_argument(
        "--pins", default="", help="refuse weights other than text=SHA256[@REVISION],image=…"
    )
    parsed = parser.parse_args(arguments)
    precisions = [
        precision for precision in PRECISIONS if precision in parsed.precisions.split(",")
    ]
    if not precisions:
        parser.error(f"--precisions {parsed.precisions}: give fp32, int8, or both")
    started = time.monotonic()
    try:
        spec = pinned(parser, resolve(parsed.model), parsed.pins)
        folder = spec.folder_in(parsed.out)
        manifest = export(spec, folder, precisions, parsed.random_weights)
    except EmbeddingError as error:
        print(f"not exported: {error}", file=sys.stderr)
        return 1
    report(manifest, folder, time.monotonic() - started)
    return 0


def pinned(parser: argparse.ArgumentParser, spec: ModelSpec, pins: str) -> ModelSpec:
    """Pin the model's weights; end the program if the pins are invalid."""
    try:
        return pin(spec, pins)
    except ValueError as error:
        parser.error(f"--pins: {error}")


def export(
    spec: ModelSpec, folder: Path, precisions: Sequence[BundlePrecision], random_weights: bool
) -> Manifest:
    """Write the bundle to `folder` and replace what was there.

    Raises EmbeddingError; `folder` is then unchanged.
    """
    settings = get_settings()
    with tempfile.TemporaryDirectory() as scratch, replacing(folder) as build:
        options = EngineOptions(
            weights_dir=Path(scratch) if random_weights else settings.weights_dir,
            allow_download=settings.allow_download,
            device="cpu",
            num_threads=usable_cores(),
        )
        if random_weights:
            write_random_weights(spec, Path(scratch))
        with shown() as progress:
            manifest = BundleBuilder(spec, options, build, progress).run(precisions, random_weights)
        manifest_json = json.dumps(manifest.model_dump(), indent=2, ensure_ascii=False)
        (build / MANIFEST).write_text(manifest_json + "\n", "utf-8")
    return manifest


def report(manifest: Manifest, folder: Path, seconds: float) -> None:
    """Print each tower's size and fidelity, in each precision."""
    print(f"{folder}: {manifest.full_name}, {manifest.dimensions} dimensions, {seconds:.0f} s")
    if manifest.random_weights:
        print("RANDOM WEIGHTS, for benchmarks only: the gate checked cosines, not the overlap")
    print(
        f"{'tower':6} {'precision':9} {'MB':>7} {'cosine min':>11} {'mean':>9} "
        f"{'neighbours':>11} {'overlap':>8}"
    )
    for name, tower in (("text", manifest.text), ("image", manifest.image)):
        for precision, fidelity in tower.fidelity.items():
            file = folder / tower.files.get(precision, "-")
            size = sum(path.stat().st_size for path in folder.glob(file.name + "*")) / 1e6
            shown = f"{size:7.1f}" if precision in tower.files else "refused"
            print(
                f"{name:6} {precision:9} {shown} {fidelity.cosine_min:11.5f} "
                f"{fidelity.cosine_mean:9.5f} {fidelity.neighbours_min:11.6f} "
                f"{manifest.overlap[precision]:8.3f}"
            )
        for reason in tower.rejected.values():
            print(f"       {reason}")


if __name__ == "__main__":
    sys.exit(main(cast("Sequence[str]", sys.argv[1:])))
