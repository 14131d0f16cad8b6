"""A bundle: a folder with a model exported for the onnx engine, described by its `manifest.json`.

A folder without a manifest is no bundle: the manifest is written last, so that a half-written one is never picked up.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import ModelUnavailable
from common.files import sha256_of
from common.models.spec import Cleaning, EngineOptions, ModelSpec, Preprocessing, TowerName

MANIFEST = "manifest.json"
XLMR_FILE = "sentencepiece.bpe.model"
JSON_FILE = "tokenizer.json"
TOKENIZERS = {
    "xlmr": XLMR_FILE,
    "xlmr_cleaned": XLMR_FILE,
    "json": JSON_FILE,
}  # CLIP's is part of the code
FORMAT: Literal[1] = 1

BundlePrecision = Literal["int8", "fp32"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Fidelity(_Record):
    """How a tower of the bundle compares with the torch reference over the evaluation set.

    `cosine_min` and `cosine_mean` are of each item's vectors, `neighbours_min` the cosine of an item encoded alone and
    in a mixed batch, `largest_difference` the largest of any component.
    """

    cosine_min: float
    cosine_mean: float
    neighbours_min: float
    largest_difference: float


class TowerManifest(_Record):
    """`files` and `fidelity` by precision.

    `weights_sha256` is of the file it was exported from, `tower_sha256` of the tensors in it and the settings that
    shape the tower, whatever the file's format.
    """

    files: dict[BundlePrecision, str]
    weights_sha256: str
    tower_sha256: str = ""
    fidelity: dict[BundlePrecision, Fidelity] = {}
    rejected: dict[BundlePrecision, str] = {}  # precisions that the fidelity gate refused, and why


class TextManifest(TowerManifest):
    """`length` is None where texts of a batch are padded to its longest, else the length that all are padded to.

    `cleaning` is of `json` and `xlmr_cleaned`, `erased_id` of `json` alone.
    """

    context_length: int
    tokenizer: Literal["clip", "xlmr", "xlmr_cleaned", "json"]
    pad_id: int
    length: int | None = None
    cleaning: Cleaning = "lower"
    erased_id: int | None = None


class ImageManifest(TowerManifest):
    """`preprocessing` as in Preprocessing.as_dict."""

    preprocessing: dict[str, object]

    def to_preprocessing(self, reference: bool) -> Preprocessing:
        """For the engine. Raises TypeError for fields that it does not know."""
        values = dict(self.preprocessing) | {"reference": reference}
        values |= {name: tuple(values[name]) for name in ("mean", "std")}  # type: ignore[arg-type]
        return Preprocessing(**values)  # type: ignore[arg-type]


class Manifest(_Record):
    """What a bundle holds. `overlap`, by precision, is the share of equal pictures in a text's top 10."""

    format: Literal[1]
    model: str
    full_name: str
    dimensions: int
    logit_scale: float | None
    logit_bias: float | None = None  # of SigLIP's models: their probabilities are sigmoids
    random_weights: bool
    text: TextManifest
    image: ImageManifest
    overlap: dict[BundlePrecision, float]
    sha256: dict[str, str]
    versions: dict[str, str]


@dataclass(frozen=True)
class Bundle:
    """A folder and its manifest."""

    folder: Path
    manifest: Manifest

    def choose(self, tower: TowerName, precision: str) -> BundlePrecision:
        """The precision to serve a tower in; `auto` is int8 where its fidelity passed. Raises ModelUnavailable."""
        described: TowerManifest = self.manifest.text if tower == "text" else self.manifest.image
        if precision == "auto":
            return "int8" if "int8" in described.files else "fp32"
        for name in described.files:
            if name == precision:
                return name
        has, refused = " and ".join(sorted(described.files)), ""
        for name, reason in described.rejected.items():
            refused = f": {reason}" if name == precision else refused
        message = f"model {self.manifest.model}: the {tower} tower of its bundle is {has}, not {precision}{refused}"
        raise ModelUnavailable(message)

    def verified(self, name: str) -> tuple[Path, str]:
        """A file of the bundle and its sha256, read whole; the file with a graph's weights is read too.

        Raises ModelUnavailable naming the file that is not right.
        """
        path, weights = self.folder / name, f"{name}.data"
        if weights in self.manifest.sha256:
            self.verified(weights)
        expected = self.manifest.sha256.get(name, "")
        try:
            sha256 = sha256_of(path)
        except OSError as error:
            raise ModelUnavailable(
                f"model {self.manifest.model}: {name} of its bundle cannot be read"
            ) from error
        if sha256 != expected:
            message = f"{name} of its bundle has sha256 {sha256[:16]}…, expected {expected[:16] or 'none'}…"
            raise ModelUnavailable(f"model {self.manifest.model}: {message}")
        return path, sha256

    def release(self, name: str) -> None:
        """The engine has read this file and needs it no more; a local bundle keeps it."""


def find_bundle(spec: ModelSpec, options: EngineOptions) -> Bundle | None:
    """The operator's bundle, `<weights_dir>/<model>/`, else the one that ships with the function; None: neither.

    Raises ModelUnavailable for a manifest that cannot be read, or that is another model's.
    """
    own = spec.folder_in(options.weights_dir)
    for folder in (own, spec.bundle):
        if folder is not None and (folder / MANIFEST).is_file():
            return read_bundle(folder, spec)
    return None


def read_bundle(folder: Path, spec: ModelSpec) -> Bundle:
    """The bundle in a folder. Raises ModelUnavailable."""
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise ModelUnavailable(
            f"model {spec.id}: the manifest of its bundle cannot be read"
        ) from error
    if manifest.model != spec.id:
        raise ModelUnavailable(
            f"model {spec.id}: the bundle in its folder is of model {manifest.model}"
        )
    return Bundle(folder, manifest)
