"""A bundle: a folder with a model exported for the onnx engine, described by its `manifest.json`.

The export writes the manifest last. A folder without a manifest does not count as a bundle, so a
half-written bundle is never loaded.
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
PIECES_FILE = "tokenizer.model"
# The file of each kind of tokenizer. CLIP's vocabulary is part of the code.
TOKENIZERS = {
    "xlmr": XLMR_FILE,
    "xlmr_cleaned": XLMR_FILE,
    "json": JSON_FILE,
    "pieces": PIECES_FILE,
}
FORMAT: Literal[1] = 1
# What a graph's name ends with in the files beside it: tables that stay mapped, and matrices that
# are read while a session starts.
TABLES, MATRICES = BESIDE = ".data", ".weights"

BundlePrecision = Literal["int8", "fp32"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Fidelity(_Record):
    """How a tower's vectors compare with those of the torch reference, over the evaluation set.

    `cosine_min` and `cosine_mean` compare each item's vector with its reference vector.
    `neighbours_min` is the smallest cosine between an item encoded alone and in a mixed batch.
    `largest_difference` is the largest difference of any vector component.
    """

    cosine_min: float
    cosine_mean: float
    neighbours_min: float
    largest_difference: float


class TowerManifest(_Record):
    """One tower of a bundle: `files`, `fidelity` and `rejected` are keyed by precision.

    `weights_sha256` is the sum of the weights file that the tower was exported from.
    `tower_sha256` covers the tensors and the settings that shape the tower. It does not depend on
    the file's format.
    """

    files: dict[BundlePrecision, str]
    weights_sha256: str
    tower_sha256: str = ""
    fidelity: dict[BundlePrecision, Fidelity] = {}
    rejected: dict[BundlePrecision, str] = {}  # why the fidelity gate refused a precision


class TextManifest(TowerManifest):
    """The text tower of a bundle, with its tokenizer.

    `length` is the length in tokens that every text is padded to. None means that each batch is
    padded to its longest text. `cleaning` applies to all tokenizers but `clip` and `xlmr`,
    `erased_id` only to `json`. A `pieces` tokenizer is a `json` one in sentencepiece's format, with
    the same ids: `vocabulary_sha256` is the sum of the original, `end_id` ends each text.
    """

    context_length: int
    tokenizer: Literal["clip", "xlmr", "xlmr_cleaned", "json", "pieces"]
    pad_id: int
    length: int | None = None
    cleaning: Cleaning = "lower"
    erased_id: int | None = None
    end_id: int | None = None
    vocabulary_sha256: str = ""


class ImageManifest(TowerManifest):
    """The image tower of a bundle; `preprocessing` is what `Preprocessing.as_dict` returns."""

    preprocessing: dict[str, object]

    def to_preprocessing(self, reference: bool) -> Preprocessing:
        """The preprocessing as the engine takes it. Raises TypeError for an unknown field."""
        values = dict(self.preprocessing) | {"reference": reference}
        values |= {name: tuple(values[name]) for name in ("mean", "std")}  # type: ignore[arg-type]
        return Preprocessing(**values)  # type: ignore[arg-type]


class Manifest(_Record):
    """The contents of `manifest.json`: what a bundle holds and how it was measured.

    `overlap` is keyed by precision. It is the share of images in a text's top 10 that the
    reference ranks in its top 10 too.
    """

    format: Literal[1]
    model: str
    full_name: str
    dimensions: int
    logit_scale: float | None
    logit_bias: float | None = None  # SigLIP models have one: their probabilities are sigmoids
    random_weights: bool
    text: TextManifest
    image: ImageManifest
    overlap: dict[BundlePrecision, float]
    sha256: dict[str, str]
    versions: dict[str, str]


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk: its folder and its manifest."""

    folder: Path
    manifest: Manifest

    def choose(self, tower: TowerName, precision: str) -> BundlePrecision:
        """The precision to serve a tower in; `auto` prefers int8 if it passed the fidelity gate.

        Raises ModelUnavailable if the bundle does not have the precision.
        """
        described: TowerManifest = self.manifest.text if tower == "text" else self.manifest.image
        if precision == "auto":
            return "int8" if "int8" in described.files else "fp32"
        for name in described.files:
            if name == precision:
                return name
        has = " and ".join(sorted(described.files))
        refused = ""
        for name, reason in described.rejected.items():
            refused = f" (the export rejected it: {reason})" if name == precision else refused
        raise ModelUnavailable(
            f"model {self.manifest.model}: the {tower} tower of its bundle has {has}, "
            f"not {precision}{refused}; set CLIP_PRECISION=auto or export {precision}"
        )

    def fetch(self, name: str) -> Path:
        """Make a file and those with its weights readable; return its path.

        A local bundle has them already. Raises ModelUnavailable.
        """
        return self.folder / name

    def check(self, name: str) -> str:
        """Check a fetched file and those with its weights against the manifest; return its sha256.

        Raises ModelUnavailable with the name of a file that is unreadable or has the wrong sum.
        """
        for beside in self.files(name)[1:]:
            self._checked(beside)
        return self._checked(name)

    def verified(self, name: str) -> tuple[Path, str]:
        """Fetch a file and check it; return its path and its sha256. Raises ModelUnavailable."""
        path = self.fetch(name)
        try:
            return path, self.check(name)
        except ModelUnavailable:
            self.release(name)
            raise

    def files(self, name: str) -> list[str]:
        """A file and those with the weights of its graph."""
        beside = (name + suffix for suffix in BESIDE)
        return [name, *(file for file in beside if file in self.manifest.sha256)]

    def release(self, name: str) -> None:
        """Called when the engine no longer needs a file. A local bundle keeps its files."""

    def _checked(self, name: str) -> str:
        expected = self.manifest.sha256.get(name, "")
        try:
            sha256 = sha256_of(self.folder / name)
        except OSError as error:
            raise ModelUnavailable(
                f"model {self.manifest.model}: {name} of its bundle cannot be read"
            ) from error
        if sha256 != expected:
            raise ModelUnavailable(
                f"model {self.manifest.model}: {name} of its bundle has sha256 {sha256[:16]}…, "
                f"expected {expected[:16] or 'none'}…; export or copy the bundle again"
            )
        return sha256


def find_bundle(spec: ModelSpec, options: EngineOptions) -> Bundle | None:
    """The bundle in `<weights_dir>/<model>/`, else the one that ships with the function, else None.

    Raises ModelUnavailable if the manifest is unreadable or names another model.
    """
    own = spec.folder_in(options.weights_dir)
    for folder in (own, spec.bundle):
        if folder is not None and (folder / MANIFEST).is_file():
            return read_bundle(folder, spec)
    return None


def read_bundle(folder: Path, spec: ModelSpec) -> Bundle:
    """Read the bundle in a folder.

    Raises ModelUnavailable if the manifest is unreadable or names another model.
    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise ModelUnavailable(
            f"model {spec.id}: the {MANIFEST} of its bundle is unreadable or invalid; "
            f"run `make export MODEL={spec.id}`"
        ) from error
    if manifest.model != spec.id:
        raise ModelUnavailable(
            f"model {spec.id}: the bundle in its folder is for model {manifest.model}"
        )
    return Bundle(folder, manifest)
