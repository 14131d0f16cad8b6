"""Bundles of random weights, for tests of what an export writes."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from torch.onnx._internal.exporter._registration import ONNXRegistry
from tqdm import tqdm

from common.files import replacing
from common.models.bundle import Bundle, BundlePrecision, read_bundle
from common.models.spec import EngineOptions, ModelSpec
from export.build import BundleBuilder

# torch reads its table of operators anew for each tower that it exports, a second each time.
ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))  # type: ignore[assignment, method-assign]
BOTH: tuple[BundlePrecision, ...] = ("fp32", "int8")


def export_with(
    spec: ModelSpec,
    folder: Path,
    weights: EngineOptions,
    precisions: Sequence[BundlePrecision] = BOTH,
) -> Bundle:
    """Random weights from a folder; the gate is not applied."""
    silent: tqdm[Any] = tqdm(total=0, disable=True)
    with replacing(folder) as build:
        manifest = BundleBuilder(spec, weights, build, silent).run(precisions, random_weights=True)
        (build / "manifest.json").write_text(manifest.model_dump_json())
    return read_bundle(folder, spec)
