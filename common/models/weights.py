"""Where a tower's weights lie: a local folder, one that ships with the function, or the model hub's cache.

Every file that is read is known by its sha256, which goes into the model's fingerprint, and is checked where a sum is
pinned: in the catalog, or in a `SHA256SUMS` file (as `sha256sum` writes it) beside the weights.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import ModelUnavailable
from common.files import sha256_of
from common.models import hub
from common.models.spec import EngineOptions, ModelSpec, TowerName, TowerSource

OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
MCLIP_FILES = ("model.safetensors", "pytorch_model.bin")
MCLIP_TOKENIZER = "sentencepiece.bpe.model"
SUMS = "SHA256SUMS"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class WeightsFile:
    """One file of weights, verified."""

    path: Path
    sha256: str


def local_folder(
    spec: ModelSpec, tower: TowerName, names: Sequence[str], options: EngineOptions
) -> Path | None:
    """The operator's folder if it holds one of `names`, else the one that ships with the function, else None.

    The operator's is `<weights_dir>/<model>/<tower>/`, or `<weights_dir>/<model>/` for both towers.
    """
    own = spec.folder_in(options.weights_dir)
    shipped = (spec.text if tower == "text" else spec.image).folder
    for folder in (own / tower, own):
        if any((folder / name).is_file() for name in names):
            return folder
    return shipped


def pin(spec: ModelSpec, pins: str) -> ModelSpec:
    """The model whose weights must be these: `text=SHA256@REVISION,image=SHA256`, a revision being optional.

    Raises ValueError.
    """
    for part in pins.split(",") if pins else ():
        name, _, value = part.partition("=")
        sha256, _, revision = value.partition("@")
        if name not in ("text", "image") or not _SHA256.fullmatch(sha256):
            raise ValueError(
                f"{part!r} is no pin: text=SHA256 or image=SHA256, and @REVISION if you like"
            )
        tower = spec.text if name == "text" else spec.image
        pinned = replace(tower, weights_sha256=sha256, hub_revision=revision)
        spec = replace(spec, text=pinned) if name == "text" else replace(spec, image=pinned)
    return spec


def find_file(folder: Path, names: Sequence[str], spec: ModelSpec) -> Path:
    """The first of `names` in `folder`. Raises ModelUnavailable naming all of them."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ModelUnavailable(f"model {spec.id}: no {' or '.join(names)} in its folder {folder.name}/")


def fetch_file(
    repo: str, names: Sequence[str], spec: ModelSpec, options: EngineOptions, revision: str = ""
) -> Path:
    """The first of `names` in a hub repository, from the cache if it is there. Raises ModelUnavailable.

    `revision` is a commit or tag of the repository; empty: its newest.
    """
    failure: Exception | None = None
    for offline in (True, False):  # the cache first: asking the hub costs a request at each start
        if not offline and not options.allow_download:
            continue
        for name in names:
            try:
                return _download(repo, name, options, revision, offline)
            except Exception as error:  # noqa: BLE001 - hub.reason_of knows them all
                failure = error
                if not hub.is_absent(error):
                    break
    tried = f"{' or '.join(names)} of the hub repository {repo}"
    reason = hub.reason_of(failure) if options.allow_download else "CLIP_ALLOW_DOWNLOAD is false"
    message = f"model {spec.id}: {tried}: not in the cache, and {reason}. {hub.WAYS_ON}"
    raise ModelUnavailable(message.format(model=spec.id)) from failure


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
    """The first of `names` in the folder `name`, if there is one, else in the hub repository `name`.

    Raises ModelUnavailable.
    """
    if Path(name).is_dir():
        return verify(find_file(Path(name), names, spec), spec).path
    return fetch_file(name, names, spec, options)


def verify(path: Path, spec: ModelSpec, pinned: str = "") -> WeightsFile:
    """The file with its sha256. Raises ModelUnavailable if it is not the pinned one."""
    sha256 = _sha256(path)
    expected = pinned or _sums(path.parent).get(path.name, sha256)
    if sha256 != expected:
        message = (
            f"model {spec.id}: {path.name} has sha256 {sha256[:16]}…, expected {expected[:16]}…"
        )
        raise ModelUnavailable(message)
    return WeightsFile(path, sha256)


def read_json(path: Path, spec: ModelSpec) -> dict[str, Any]:
    """A config file. Raises ModelUnavailable."""
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"model {spec.id}: {path.name} is missing or no JSON") from error
    if not isinstance(config, dict):
        raise ModelUnavailable(f"model {spec.id}: {path.name} holds no object")
    return config


def _sha256(path: Path) -> str:
    target = path.resolve()
    if target.parent.name == "blobs" and _SHA256.fullmatch(target.name):
        return target.name  # the hub's cache names large files by their sum: no need to read 2 GB
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
    """The weights of a tower that a folder or a hub repository holds."""
    path = (
        find_file(folder, OPEN_CLIP_FILES, spec)
        if folder
        else fetch_file(tower.hub_repo, OPEN_CLIP_FILES, spec, options, tower.hub_revision)
    )
    return verify(path, spec, tower.weights_sha256)
