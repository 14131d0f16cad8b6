"""Find and verify a tower's weights: in the operator's folder, a shipped folder or the hub's cache.

The sha256 of each file goes into the model's fingerprint. A file must match its pinned sum, which
stands in the catalog or in a `SHA256SUMS` file beside the weights (as `sha256sum` writes it).
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from common.errors import ModelUnavailable
from common.files import sha256_of
from common.models import hub
from common.models.spec import EngineOptions, ModelSpec, TowerName, TowerSource

OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
MCLIP_FILES = ("model.safetensors", "pytorch_model.bin")
MCLIP_TOKENIZER = "sentencepiece.bpe.model"
SUMS = "SHA256SUMS"
TOKENIZER_SUFFIXES = (".json", ".txt", ".model")
Result = TypeVar("Result")
# The weights files of each family, by which its folders are recognised.
FILES_OF = {"open_clip": OPEN_CLIP_FILES, "mclip": MCLIP_FILES}

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class WeightsFile:
    """A verified weights file and its sha256."""

    path: Path
    sha256: str


def local_folder(
    spec: ModelSpec, tower: TowerName, names: Sequence[str], options: EngineOptions
) -> Path | None:
    """The operator's folder if it has one of `names`, else the shipped folder, else None.

    The operator's folder is `<weights_dir>/<model>/<tower>/`, or `<weights_dir>/<model>/` for both
    towers.
    """
    own = spec.folder_in(options.weights_dir)
    shipped = (spec.text if tower == "text" else spec.image).folder
    for folder in (own / tower, own):
        if any((folder / name).is_file() for name in names):
            return folder
    return shipped


def pin(spec: ModelSpec, pins: str) -> ModelSpec:
    """Pin the weights of a model: `text=SHA256@REVISION,image=SHA256`; `@REVISION` is optional.

    Raises ValueError for an invalid pin.
    """
    for part in pins.split(",") if pins else ():
        name, _, value = part.partition("=")
        sha256, _, revision = value.partition("@")
        if name not in ("text", "image") or not _SHA256.fullmatch(sha256):
            raise ValueError(
                f"invalid pin {part!r}; use text=SHA256 or image=SHA256, optionally with @REVISION"
            )
        tower = spec.text if name == "text" else spec.image
        pinned = replace(tower, weights_sha256=sha256, hub_revision=revision)
        spec = replace(spec, text=pinned) if name == "text" else replace(spec, image=pinned)
    return spec


def find_file(folder: Path, names: Sequence[str], spec: ModelSpec) -> Path:
    """The first of `names` in `folder`. Raises ModelUnavailable with all names."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ModelUnavailable(f"model {spec.id}: no {' or '.join(names)} in its folder {folder.name}/")


def fetch_file(
    repo: str, names: Sequence[str], spec: ModelSpec, options: EngineOptions, revision: str = ""
) -> Path:
    """The first of `names` in a hub repository, from the cache if possible.

    `revision` is a commit or tag of the repository; empty means the newest commit. Raises
    ModelUnavailable.
    """
    return _first(repo, names, spec, options, revision, _download)


def check_hub_file(
    repo: str, names: Sequence[str], spec: ModelSpec, options: EngineOptions, revision: str = ""
) -> None:
    """Check that `fetch_file` will find a file in the cache or on the hub; fetch nothing.

    Raises ModelUnavailable.
    """
    _first(repo, names, spec, options, revision, _look_for)


def _first(
    repo: str,
    names: Sequence[str],
    spec: ModelSpec,
    options: EngineOptions,
    revision: str,
    obtain: Callable[[str, str, EngineOptions, str, bool], Result],
) -> Result:
    """Obtain the first of `names`, offline if possible. Raises ModelUnavailable."""
    failure: Exception | None = None
    for offline in (True, False):  # the cache comes first: asking the hub costs a request a start
        if not offline and not options.allow_download:
            continue
        for name in names:
            try:
                return obtain(repo, name, options, revision, offline)
            except Exception as error:  # noqa: BLE001 - hub.reason_of explains every error
                failure = error
                if not hub.is_absent(error):
                    break
    tried = f"{' or '.join(names)} of the hub repository {repo}"
    reason = hub.reason_of(failure) if options.allow_download else "CLIP_ALLOW_DOWNLOAD is false"
    looked = "not in CLIP_WEIGHTS_DIR, not in the hub library's cache"
    message = f"model {spec.id}: {tried}: {looked}, and {reason}. {hub.WAYS_ON}"
    unknown = failure if reason == hub.UNKNOWN else None  # else a stack of libraries says no more
    raise ModelUnavailable(message.format(model=spec.id)) from unknown


def _look_for(repo: str, name: str, options: EngineOptions, revision: str, offline: bool) -> None:
    from huggingface_hub import constants

    if offline or constants.HF_HUB_OFFLINE:
        _download(repo, name, options, revision, offline)  # fetches nothing
    else:
        hub.ask(repo, name, revision)


def _download(repo: str, name: str, options: EngineOptions, revision: str, offline: bool) -> Path:
    from huggingface_hub import constants, hf_hub_download

    if not offline and not constants.HF_HUB_OFFLINE:
        hub.ask(repo, name, revision)
    path = hf_hub_download(
        repo,
        name,
        revision=revision or None,
        cache_dir=options.hub_cache,
        local_files_only=offline,
        etag_timeout=hub.ANSWER_TIMEOUT_S,
    )
    return Path(path)


def hub_file(name: str, names: Sequence[str], spec: ModelSpec, options: EngineOptions) -> Path:
    """The first of `names` in `name`, which is a local folder or else a hub repository.

    Raises ModelUnavailable.
    """
    if Path(name).is_dir():
        return verify(find_file(Path(name), names, spec), spec).path
    return fetch_file(name, names, spec, options)


def verify(path: Path, spec: ModelSpec, pinned: str = "") -> WeightsFile:
    """Check a file against its pinned sum. Raises ModelUnavailable if it differs."""
    sha256 = _sha256(path)
    expected = pinned or _sums(path.parent).get(path.name, sha256)
    if sha256 != expected:
        message = f"{path.name} has sha256 {sha256[:16]}…, expected {expected[:16]}…"
        raise ModelUnavailable(f"model {spec.id}: {message}; replace the file or the pinned sum")
    return WeightsFile(path, sha256)


def verify_tokenizer(folder: Path, spec: ModelSpec) -> None:
    """Check all files that a tokenizer may read against their sums, if the folder has sums.

    Raises ModelUnavailable.
    """
    if (folder / SUMS).is_file():
        for path in sorted(folder.iterdir()):
            if path.suffix in TOKENIZER_SUFFIXES:
                verify(path, spec)


def check(spec: ModelSpec, tower: TowerName, options: EngineOptions) -> None:
    """Check that a tower's weights are here or can be fetched, without fetching them.

    That takes milliseconds if they are here, else one question to the hub. Weights that only
    open_clip's table knows are not checked. Raises ModelUnavailable.
    """
    source = spec.text if tower == "text" else spec.image
    names = FILES_OF.get(source.family, ())
    if source.hub_repo and not local_folder(spec, tower, names, options):
        check_hub_file(source.hub_repo, names, spec, options, source.hub_revision)


def read_json(path: Path, spec: ModelSpec) -> dict[str, Any]:
    """Verify and read a JSON config file that holds an object. Raises ModelUnavailable."""
    if path.is_file():
        verify(path, spec)
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        message = f"{path.name} is missing or not valid JSON"
        raise ModelUnavailable(f"model {spec.id}: {message}") from error
    if not isinstance(config, dict):
        raise ModelUnavailable(f"model {spec.id}: {path.name} must contain a JSON object")
    return config


def _sha256(path: Path) -> str:
    target = path.resolve()
    if target.parent.name == "blobs" and _SHA256.fullmatch(target.name):
        return target.name  # the hub's cache names large files by their sum, which saves reading
    return sha256_of(path)


def _sums(folder: Path) -> dict[str, str]:
    sums = folder / SUMS
    if not sums.is_file():
        return {}
    lines = (line.strip() for line in sums.read_text("utf-8").splitlines())
    pairs = (line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    return {pair[1].removeprefix("*"): pair[0].lower() for pair in pairs if len(pair) == 2}


def open_clip_file(
    spec: ModelSpec, tower: TowerSource, folder: Path | None, options: EngineOptions
) -> WeightsFile:
    """The verified weights of an open_clip tower, from a folder or the tower's hub repository.

    Raises ModelUnavailable.
    """
    path = (
        find_file(folder, OPEN_CLIP_FILES, spec)
        if folder
        else fetch_file(tower.hub_repo, OPEN_CLIP_FILES, spec, options, tower.hub_revision)
    )
    return verify(path, spec, tower.weights_sha256)
