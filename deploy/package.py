"""Write the folder that is deployed: `python -m deploy.package MODEL`.

The folder holds the code that CODE lists, and the weights of one model. The same input gives the
same bytes: all files have the same mode and time. A Python file that does not compile is an error,
because the platform would refuse the folder. Weights that differ from their manifest are an error
too, because the function would refuse them.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from common.errors import EmbeddingError
from common.files import replacing, sha256_of
from common.machine import MODEL_FILE
from common.models.bundle import (
    BESIDE,
    MANIFEST,
    TOKENIZERS,
    Bundle,
    BundlePrecision,
    find_bundle,
)
from common.models.catalog import resolve
from common.models.spec import EngineOptions, ModelSpec

ROOT = Path(__file__).resolve().parents[1]
CODE = (  # patterns of all code that is deployed; a new package of the function needs a new line
    "LICENSE",
    "main.py",
    "common/*.py",
    "common/images/*.py",
    "common/models/*.py",
    "common/models/*.txt.gz",
    "common/models/engines/*.py",
    "functions/*.py",
    "functions/static/*",
    "functions/static/docs/*",
)
TORCH_CODE = ("common/models/torch_engine/*.py",)
NEVER = ("__pycache__", "*.pyc", ".*")
OF_A_BUNDLE = ("*.onnx", *(f"*.onnx{suffix}" for suffix in BESIDE), MANIFEST)
CHECKPOINTS = {".safetensors", ".bin", ".pt"}
IGNORE = """# This folder is the function, except for what Python writes into it.
__pycache__/
*.pyc
.gcloudignore
"""
MADE_AT = 946_684_800  # 2000-01-01; a zip file cannot hold a time before 1980

# By the path in the folder: the file to copy, or the content to write.
Files = dict[str, Path | bytes]


class PackageError(Exception):
    """The choice cannot be packaged: a file is missing or broken."""


@dataclass(frozen=True)
class Choice:
    """What to package.

    `uri` is the bucket folder that the function loads its weights from; none are packaged then.
    """

    spec: ModelSpec
    engine: str = "onnx"
    precision: str = "auto"
    uri: str = ""
    storage: bool = False


@dataclass(frozen=True)
class Package:
    """The files by part. `notes` are lines that the operator should read."""

    code: Files
    weights: Files
    requirements: Files
    notes: list[str] = field(default_factory=list)

    @property
    def files(self) -> Files:
        """The files of all parts, sorted by path."""
        return dict(sorted((self.code | self.weights | self.requirements).items()))


def plan(choice: Choice, root: Path = ROOT, also_required: Sequence[str] = ()) -> Package:
    """The package for a choice. Raises PackageError, ModelUnavailable.

    `also_required` are files of requirements that are appended to the function's.
    """
    notes: list[str] = []
    weights = _weights(choice, root, notes)
    return Package(_code(choice, root), weights, _requirements(choice, root, also_required), notes)


def _walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, sorted, without hidden files and Python's caches."""
    for path in sorted(folder.iterdir()):
        if not any(path.match(pattern) for pattern in NEVER):
            if path.is_dir():
                yield from _walk(path)
            else:
                yield path


def _code(choice: Choice, root: Path) -> Files:
    files: Files = {".gcloudignore": IGNORE.encode(), MODEL_FILE: f"{choice.spec.id}\n".encode()}
    for pattern in CODE + (TORCH_CODE if choice.engine == "torch" else ()):
        for path in sorted(root.glob(pattern)):
            if path.is_file() and not any(path.match(never) for never in NEVER):
                files[path.relative_to(root).as_posix()] = path
    for place, source in files.items():
        if isinstance(source, Path) and source.suffix == ".py":
            _compile(place, source)
    return files


def _compile(place: str, source: Path) -> None:
    """Raises PackageError if the file does not compile.

    The platform compiles every file that is uploaded, and the first failure ends the deployment.
    """
    try:
        compile(source.read_bytes(), place, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        raise PackageError(f"{place} does not compile: {error}") from error


def _weights(choice: Choice, root: Path, notes: list[str]) -> Files:
    spec = choice.spec
    if choice.uri:
        notes.append(f"no weights inside: deploy with CLIP_WEIGHTS_URI={choice.uri}")
        return {}
    if choice.engine == "torch":
        return _checkpoints(spec, root, notes)
    bundle = find_bundle(spec, EngineOptions(root / "weights"))
    if bundle is None:
        raise PackageError(
            f"weights/ has no bundle of {spec.id}; run `make export MODEL={spec.id}` first"
        )
    return _bundle(bundle, choice.precision, _place(bundle.folder, spec, root), notes)


def _place(folder: Path, spec: ModelSpec, root: Path) -> str:
    """The path at which the function looks for the bundle. A shipped bundle keeps its path."""
    shipped = folder == spec.bundle
    return folder.relative_to(ROOT).as_posix() if shipped else folder.relative_to(root).as_posix()


def _bundle(bundle: Bundle, precision: str, place: str, notes: list[str]) -> Files:
    """A bundle with one precision per tower.

    Raises ModelUnavailable if a file differs from the manifest.
    """
    manifest = bundle.manifest
    text, image = bundle.choose("text", precision), bundle.choose("image", precision)
    names = [manifest.text.files[text], manifest.image.files[image]]
    beside = [name + suffix for name in names for suffix in BESIDE]
    names += [name for name in beside if name in manifest.sha256]
    names += [name for name in TOKENIZERS.values() if name in manifest.sha256]
    sources: Files = {f"{place}/{name}": bundle.verified(name)[0] for name in names}
    kept = manifest.model_copy(
        update={
            "text": manifest.text.model_copy(update={"files": _only(manifest.text.files, text)}),
            "image": manifest.image.model_copy(
                update={"files": _only(manifest.image.files, image)}
            ),
            "sha256": {name: manifest.sha256[name] for name in sorted(names)},
        }
    )
    sources[f"{place}/{MANIFEST}"] = (
        json.dumps(kept.model_dump(), indent=2, ensure_ascii=False) + "\n"
    ).encode()
    if manifest.random_weights:
        notes.append(
            "RANDOM WEIGHTS of real size, only for measurements: their vectors mean nothing"
        )
    return sources


def _only(
    files: Mapping[BundlePrecision, str], precision: BundlePrecision
) -> dict[BundlePrecision, str]:
    return {precision: files[precision]}


def _checkpoints(spec: ModelSpec, root: Path, notes: list[str]) -> Files:
    """The checkpoints in the operator's weights folder, else those that ship with the function."""
    own = spec.folder_in(root / "weights")
    files = list(_walk(own)) if own.is_dir() else []
    files = [path for path in files if not any(path.match(pattern) for pattern in OF_A_BUNDLE)]
    if any(path.suffix in CHECKPOINTS for path in files):
        return {path.relative_to(root).as_posix(): path for path in files}
    shipped = sorted({tower.folder for tower in (spec.text, spec.image) if tower.folder})
    if not shipped:
        notes.append(
            "no weights inside: the function downloads them from the model hub at every cold start"
        )
    return {path.relative_to(ROOT).as_posix(): path for folder in shipped for path in _walk(folder)}


def _requirements(choice: Choice, root: Path, also: Sequence[str]) -> Files:
    names = ["requirements.txt" if choice.engine == "torch" else "requirements-serve.txt"]
    if choice.uri or choice.storage:
        names.append("requirements-storage.txt")
    names += also
    files: Files = {"requirements.txt": b"".join((root / name).read_bytes() for name in names)}
    files["constraints.txt"] = root / "constraints.txt"
    if choice.engine == "torch":
        # requirements.txt includes this file.
        files["requirements-serve.txt"] = root / "requirements-serve.txt"
    return files


def write(files: Files, folder: Path) -> str:
    """Write the files into `folder`, replacing its content.

    Returns the sha256 over their paths and contents.
    """
    digest = hashlib.sha256()
    with replacing(folder) as build:
        for place, source in files.items():
            path = build / place
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, bytes):
                path.write_bytes(source)
            else:
                shutil.copyfile(source, path)
            path.chmod(0o644)
            digest.update(f"{place}\n{sha256_of(path)}\n".encode())
        for path in sorted(build.rglob("*"), reverse=True):  # a folder's time after its files
            os.utime(path, (MADE_AT, MADE_AT))
    return digest.hexdigest()


def report(choice: Choice, package: Package, folder: Path, sha256: str) -> None:
    """Print the sizes of the parts, the checksum and the notes."""
    print(f"{folder}: {choice.spec.full_name}, {choice.engine} engine")
    for part, files in (
        ("code", package.code),
        ("weights", package.weights),
        ("requirements", package.requirements),
        ("total", package.files),
    ):
        size = sum((folder / place).stat().st_size for place in files)
        where = (
            sorted({str(PurePosixPath(place).parent) for place in files})
            if part == "weights"
            else []
        )
        print(f"  {part:12} {size / 1e6:8.1f} MB {len(files):5} files  {' '.join(where)}".rstrip())
    print(f"  sha256 {sha256}")
    for note in package.notes:
        print(f"  {note}")


def main(arguments: Sequence[str]) -> int:
    """Write the folder. Returns the exit status: 0, or 1 if nothing was written."""
    parser = argparse.ArgumentParser(prog="python -m deploy.package", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--engine", choices=("onnx", "torch"), default="onnx")
    parser.add_argument(
        "--precision",
        default="auto",
        help="of the bundle: int8, fp32, or auto, which is what the function would choose",
    )
    parser.add_argument(
        "--weights-uri", default="", help="gs:// folder that the function fetches its bundle from"
    )
    parser.add_argument(
        "--storage", action="store_true", help="include google-cloud-storage, for gs:// images"
    )
    parser.add_argument("--out", type=Path, default=Path("build/function"))
    parsed = parser.parse_args(arguments)
    if parsed.weights_uri and parsed.engine == "torch":
        parser.error(
            "--weights-uri names a bundle, which the torch engine cannot run; use --engine onnx"
        )
    try:
        choice = Choice(
            resolve(parsed.model),
            parsed.engine,
            parsed.precision,
            parsed.weights_uri,
            parsed.storage,
        )
        package = plan(choice)
    except (EmbeddingError, PackageError) as error:
        print(f"not packaged: {error}", file=sys.stderr)
        return 1
    report(choice, package, parsed.out, write(package.files, parsed.out))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
