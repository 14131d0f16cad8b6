"""Write the folder that is deployed: `python -m deploy.package MODEL`.

It holds the code that CODE lists and the weights of one model. The same input gives the same bytes: files have one
mode and one time. A Python file that does not compile stops it, since the platform would refuse the folder; so do
weights that are not the manifest's, which the function would refuse.
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
from common.models.bundle import MANIFEST, TOKENIZERS, Bundle, BundlePrecision, find_bundle
from common.models.catalog import resolve
from common.models.spec import EngineOptions, ModelSpec

ROOT = Path(__file__).resolve().parents[1]
CODE = (  # all that is deployed, as patterns; a new package of the function is a new line
    "LICENSE",
    "main.py",
    "common/*.py",
    "common/images/*.py",
    "common/models/*.py",
    "common/models/*.txt.gz",
    "functions/*.py",
    "functions/static/*",
    "functions/static/docs/*",
)
TORCH_CODE = ("common/models/torch_engine/*.py",)
NEVER = ("__pycache__", "*.pyc", ".*")
OF_A_BUNDLE = ("*.onnx", "*.onnx.data", MANIFEST)
CHECKPOINTS = {".safetensors", ".bin", ".pt"}
IGNORE = "# All of this folder is the function, but for what Python writes into it.\n__pycache__/\n*.pyc\n.gcloudignore\n"
MADE_AT = 946_684_800  # 2000-01-01: a zip file knows no time before 1980

Files = dict[
    str, Path | bytes
]  # by their place in the folder: where they come from, or what they hold


class PackageError(Exception):
    """What was asked for cannot be packaged as it is."""


@dataclass(frozen=True)
class Choice:
    """What to package. `uri` is a bucket's folder that the weights will come from, so that none are packaged."""

    spec: ModelSpec
    engine: str = "onnx"
    precision: str = "auto"
    uri: str = ""
    storage: bool = False


@dataclass(frozen=True)
class Package:
    """Files by part. `notes` is what the operator ought to know."""

    code: Files
    weights: Files
    requirements: Files
    notes: list[str] = field(default_factory=list)

    @property
    def files(self) -> Files:
        """All of them, in order."""
        return dict(sorted((self.code | self.weights | self.requirements).items()))


def plan(choice: Choice, root: Path = ROOT) -> Package:
    """What goes where. Raises PackageError, ModelUnavailable."""
    notes: list[str] = []
    weights = _weights(choice, root, notes)
    return Package(_code(choice, root), weights, _requirements(choice, root), notes)


def _walk(folder: Path) -> Iterator[Path]:
    """Files below it, in order, without those that are nobody's source."""
    for path in sorted(folder.iterdir()):
        if not any(path.match(pattern) for pattern in NEVER):
            if path.is_dir():
                yield from _walk(path)
            else:
                yield path


def _code(choice: Choice, root: Path) -> Files:
    files: Files = {".gcloudignore": IGNORE.encode()}
    for pattern in CODE + (TORCH_CODE if choice.engine == "torch" else ()):
        for path in sorted(root.glob(pattern)):
            if path.is_file() and not any(path.match(never) for never in NEVER):
                files[path.relative_to(root).as_posix()] = path
    for place, source in files.items():
        if isinstance(source, Path) and source.suffix == ".py":
            _compile(place, source)
    return files


def _compile(place: str, source: Path) -> None:
    """The platform compiles whatever is uploaded, and a deploy fails with the first file that it cannot."""
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
            f"weights/ holds no bundle of {spec.id}: `make export MODEL={spec.id}` writes one"
        )
    return _bundle(bundle, choice.precision, _place(bundle.folder, spec, root), notes)


def _place(folder: Path, spec: ModelSpec, root: Path) -> str:
    """Where the function looks for it: the one that ships with it stays where it is."""
    shipped = folder == spec.bundle
    return folder.relative_to(ROOT).as_posix() if shipped else folder.relative_to(root).as_posix()


def _bundle(bundle: Bundle, precision: str, place: str, notes: list[str]) -> Files:
    """A bundle with one precision a tower. Raises ModelUnavailable where a file is not the manifest's."""
    manifest = bundle.manifest
    text, image = bundle.choose("text", precision), bundle.choose("image", precision)
    names = [manifest.text.files[text], manifest.image.files[image]]
    names += [f"{name}.data" for name in names if f"{name}.data" in manifest.sha256]
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
        notes.append("RANDOM WEIGHTS of real size, for measuring alone: their vectors mean nothing")
    return sources


def _only(
    files: Mapping[BundlePrecision, str], precision: BundlePrecision
) -> dict[BundlePrecision, str]:
    return {precision: files[precision]}


def _checkpoints(spec: ModelSpec, root: Path, notes: list[str]) -> Files:
    """The operator's folder of the model without its bundle, else what ships with the function."""
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


def _requirements(choice: Choice, root: Path) -> Files:
    names = ["requirements.txt" if choice.engine == "torch" else "requirements-serve.txt"]
    if choice.uri or choice.storage:
        names.append("requirements-storage.txt")
    files: Files = {"requirements.txt": b"".join((root / name).read_bytes() for name in names)}
    files["constraints.txt"] = root / "constraints.txt"
    if choice.engine == "torch":
        files["requirements-serve.txt"] = (
            root / "requirements-serve.txt"
        )  # the other one includes it
    return files


def write(files: Files, folder: Path) -> str:
    """The files in `folder`, in place of what was there, and the sha256 over their places and contents."""
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
    """Print sizes by part."""
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
    """The exit status: 0, or 1 where nothing was written."""
    parser = argparse.ArgumentParser(prog="python -m deploy.package", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--engine", choices=("onnx", "torch"), default="onnx")
    parser.add_argument(
        "--precision", default="auto", help="of the bundle: int8 or fp32; auto is what is served"
    )
    parser.add_argument(
        "--weights-uri", default="", help="gs:// folder that the function fetches its bundle from"
    )
    parser.add_argument(
        "--storage", action="store_true", help="with google-cloud-storage, for gs:// images"
    )
    parser.add_argument("--out", type=Path, default=Path("build/function"))
    parsed = parser.parse_args(arguments)
    if parsed.weights_uri and parsed.engine == "torch":
        parser.error("--weights-uri is of a bundle, which the torch engine does not run")
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
