"""Bundles of random weights, for tests of what an export writes."""

from pathlib import Path
from typing import Any

from tqdm import tqdm

from common.files import replacing
from common.models.bundle import Bundle, BundlePrecision, read_bundle
from common.models.spec import EngineOptions, ModelSpec
from export.build import BundleBuilder

BOTH: list[BundlePrecision] = ["fp32", "int8"]


def export_with(spec: ModelSpec, folder: Path, weights: EngineOptions) -> Bundle:
    """Random weights from a folder, both precisions; the gate is not applied."""
    silent: tqdm[Any] = tqdm(total=0, disable=True)
    with replacing(folder) as build:
        manifest = BundleBuilder(spec, weights, build, silent).run(BOTH, random_weights=True)
        (build / "manifest.json").write_text(manifest.model_dump_json())
    return read_bundle(folder, spec)
