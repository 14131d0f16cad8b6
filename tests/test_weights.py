"""Where weights are searched, and how they are verified."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import ModelNotFound, ModelUnavailable
from common.models.catalog import CATALOG, resolve
from common.models.spec import EngineOptions, OpenClipTower
from common.models.weights import (
    OPEN_CLIP_FILES,
    fetch_file,
    find_file,
    local_folder,
    open_clip_file,
    pin,
    read_json,
    verify,
)

DEMO = resolve("demo")
NAME = "open_clip_model.safetensors"


def test_the_operators_folder_wins_over_the_shipped_one(tmp_path: Path) -> None:
    options = EngineOptions(weights_dir=tmp_path)
    assert local_folder(DEMO, "text", OPEN_CLIP_FILES, options) == DEMO.text.folder
    for folder in (tmp_path / "demo", tmp_path / "demo" / "text"):
        folder.mkdir()
        (folder / NAME).touch()
        assert local_folder(DEMO, "text", OPEN_CLIP_FILES, options) == folder
    assert local_folder(DEMO, "image", OPEN_CLIP_FILES, options) == tmp_path / "demo"


def test_slashes_in_a_models_name_become_hyphens(tmp_path: Path) -> None:
    (tmp_path / "ViT-L-14-openai").mkdir()
    (tmp_path / "ViT-L-14-openai" / NAME).touch()
    options = EngineOptions(weights_dir=tmp_path)
    spec = resolve("ViT-L-14/openai")
    assert local_folder(spec, "image", OPEN_CLIP_FILES, options) == tmp_path / "ViT-L-14-openai"


def test_a_file_must_have_the_sum_that_is_pinned_or_stands_beside_it(tmp_path: Path) -> None:
    path, sha256 = tmp_path / NAME, hashlib.sha256(b"weights").hexdigest()
    path.write_bytes(b"weights")
    assert verify(path, DEMO).sha256 == sha256
    sums = f"# comment\n\n{'0' * 64}  another file\n{sha256.upper()} *{NAME}\n"
    (tmp_path / "SHA256SUMS").write_text(sums)
    assert verify(path, DEMO).sha256 == sha256
    with pytest.raises(ModelUnavailable, match=r"open_clip_model\.safetensors has sha256"):
        verify(path, DEMO, pinned="1" * 64)
    path.write_bytes(b"others")
    with pytest.raises(ModelUnavailable, match="expected " + sha256[:16]):
        verify(path, DEMO)


def test_a_sum_may_be_of_a_name_with_blanks(tmp_path: Path) -> None:
    path = tmp_path / "my weights.bin"
    path.write_bytes(b"weights")
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  my weights.bin\n")
    with pytest.raises(ModelUnavailable, match=r"my weights\.bin has sha256"):
        verify(path, DEMO)


def test_the_hub_caches_own_name_of_a_file_is_its_sum(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / ("a" * 64)
    blob.parent.mkdir()
    blob.touch()
    (tmp_path / NAME).symlink_to(blob)
    assert verify(tmp_path / NAME, DEMO).sha256 == "a" * 64


def test_a_missing_file_and_a_broken_config_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"no a\.bin or b\.bin"):
        find_file(tmp_path, ("a.bin", "b.bin"), DEMO)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ModelUnavailable, match="must contain a JSON object"):
        read_json(tmp_path / "config.json", DEMO)
    with pytest.raises(ModelUnavailable, match="missing or not valid JSON"):
        read_json(tmp_path / "other.json", DEMO)


def test_without_leave_to_download_the_message_says_so(tmp_path: Path) -> None:
    options = EngineOptions(weights_dir=tmp_path, allow_download=False, hub_cache=tmp_path)
    with pytest.raises(ModelUnavailable, match="CLIP_ALLOW_DOWNLOAD"):
        fetch_file("nobody/nothing", ("a.bin",), DEMO, options)


def test_the_catalog_holds_the_traps() -> None:
    clip, mclip = resolve("clip"), resolve("mclip")
    assert isinstance(clip.text, OpenClipTower)
    assert isinstance(clip.image, OpenClipTower)
    assert clip.text.architecture == clip.image.architecture == "ViT-B-32-quickgelu"
    assert mclip.image.hub_repo.endswith("laion400m_e32")
    dimensions = {spec.id: spec.dimensions for spec in CATALOG}
    assert dimensions == {
        "clip": 512,
        "clip-256": 512,
        "siglip2": 768,
        "siglip2-b16": 768,
        "mclip": 640,
        "mclip-base": 512,
        "demo": 256,
        "demo-mclip": 256,
    }
    assert resolve("demo-mclip").image == DEMO.image
    assert replace(resolve("RN50/openai").image) == OpenClipTower("RN50", "openai")


@pytest.mark.parametrize("name", ["clop", "ViT-B-32/", "/openai", "/"])
def test_a_name_that_is_no_model_is_refused(name: str) -> None:
    with pytest.raises(ModelNotFound, match=r"use one of clip, clip-256, .*, demo, demo-mclip"):
        resolve(name)


def test_pinned_weights_must_be_those(tmp_path: Path) -> None:
    source = (DEMO.image.folder or Path()) / "open_clip_model.safetensors"
    right = hashlib.sha256(source.read_bytes()).hexdigest()
    pinned = pin(DEMO, f"text={right},image={'0' * 64}@main")
    assert (pinned.image.hub_revision, pinned.text.weights_sha256) == ("main", right)
    options = EngineOptions(weights_dir=tmp_path)
    assert isinstance(pinned.text, OpenClipTower)
    assert open_clip_file(pinned, pinned.text, source.parent, options).sha256 == right
    with pytest.raises(ModelUnavailable, match="expected 0000"):
        open_clip_file(pinned, pinned.image, source.parent, options)
    for wrong in ("text", "sound=" + right, "text=abc"):
        with pytest.raises(ValueError, match="invalid pin"):
            pin(DEMO, wrong)
