"""Weights from the model hub: what is fetched and checked, and the messages on failure."""

import errno
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest

from common.errors import ModelUnavailable
from common.models import hub as hub_reasons
from common.models import torch_engine
from common.models.engines.torch import TorchEngine
from common.models.spec import EngineOptions, ModelSpec, OpenClipTower
from common.models.weights import OPEN_CLIP_FILES, fetch_file
from tests.checkpoints import make_hub_tokenizer, make_uncut_model
from tests.hub import COMMIT, Hub, serving
from tests.reference import import_open_clip

REPOSITORY = "nobody/tiny"
SPEC = ModelSpec("tiny", "tiny", "", OpenClipTower(), OpenClipTower())


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as hub:
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield hub


def fetch(folder: Path, **changes: Any) -> Path:
    options = EngineOptions(folder / "none", hub_cache=folder / "cache", **changes)
    return fetch_file(REPOSITORY, OPEN_CLIP_FILES, SPEC, options)


def test_a_file_is_fetched_once_and_then_read_from_the_cache(hub: Hub, tmp_path: Path) -> None:
    hub.files[REPOSITORY] = {"open_clip_model.safetensors": b"weights" * 1000}
    path = fetch(tmp_path)
    assert path.read_bytes() == b"weights" * 1000
    assert COMMIT in str(path)
    asked = len(hub.requests)
    assert fetch(tmp_path, allow_download=False) == path
    hub.refuse = 500
    assert fetch(tmp_path) == path
    assert len(hub.requests) == asked


def test_without_safetensors_the_other_file_is_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.files[REPOSITORY] = {"open_clip_pytorch_model.bin": b"pickled"}
    assert fetch(tmp_path).name == "open_clip_pytorch_model.bin"


def test_a_repository_that_moved_is_followed(hub: Hub, tmp_path: Path) -> None:
    hub.moved[REPOSITORY] = "somebody/tiny"
    hub.files["somebody/tiny"] = {"open_clip_model.safetensors": b"weights"}
    assert fetch(tmp_path).read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "the hub requires a token"),
        (403, "the hub refuses this token"),
        (404, "the hub has no such repository, revision or file"),
        (429, "too many requests"),
        (503, "the hub answered 503"),
    ],
)
def test_a_refusal_is_named_in_seconds(hub: Hub, tmp_path: Path, status: int, reason: str) -> None:
    hub.refuse = status
    started = time.monotonic()
    with pytest.raises(ModelUnavailable, match=reason) as raised:
        fetch(tmp_path)
    assert time.monotonic() - started < 20
    for way in ("CLIP_MODEL=demo", "make export MODEL=tiny", "CLIP_WEIGHTS_DIR"):
        assert way in str(raised.value)
    assert str(tmp_path) not in str(raised.value)
    assert hub.url not in str(raised.value)


def test_a_file_that_no_repository_has_is_said_to_be_absent(hub: Hub, tmp_path: Path) -> None:
    hub.files[REPOSITORY] = {"README.md": b""}
    with pytest.raises(ModelUnavailable, match="the hub has no such repository, revision or file"):
        fetch(tmp_path)


def test_a_hub_that_cannot_be_reached_is_said_to_be_so(tmp_path: Path, hub: Hub) -> None:
    with pytest.MonkeyPatch.context() as patch:
        nowhere = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", nowhere)
        with pytest.raises(ModelUnavailable, match="this machine cannot reach the hub"):
            fetch(tmp_path)


def siglip_on(hub: Hub, folder: Path) -> Any:
    """A tiny SigLIP, and its weights, configuration and tokenizer in its repository's layout."""
    tokenizer = folder / "tokenizer"
    make_hub_tokenizer(tokenizer, "siglip")
    model = make_uncut_model(folder / "model", vocab_size=600, hf_tokenizer_name="nobody/tiny-text")
    hub.files["nobody/tiny-text"] = {path.name: path.read_bytes() for path in tokenizer.iterdir()}
    hub.files[REPOSITORY] = {path.name: path.read_bytes() for path in (folder / "model").iterdir()}
    return model


def test_a_model_and_its_tokenizer_come_from_the_hub_and_equal_open_clips(
    hub: Hub, tmp_path: Path
) -> None:
    import torch

    model = siglip_on(hub, tmp_path)
    config = json.loads(hub.files[REPOSITORY]["open_clip_config.json"])
    open_clip = import_open_clip()
    open_clip.factory._MODEL_CONFIGS["tiny-siglip"] = config["model_cfg"]
    try:
        tower = OpenClipTower("tiny-siglip", hub_repo=REPOSITORY)
        spec = ModelSpec("tiny", "tiny", "", tower, tower)
        options = EngineOptions(tmp_path / "none", hub_cache=tmp_path / "cache", num_threads=1)
        encoder = torch_engine.load_text_encoder(spec, options)
        hub.refuse = 500
        again = torch_engine.load_text_encoder(spec, options)
    finally:
        del open_clip.factory._MODEL_CONFIGS["tiny-siglip"]
    reference = open_clip.tokenizer.HFTokenizer(str(tmp_path / "tokenizer"), context_length=16)
    texts = ["a fox", "two dogs, " * 20, ""]
    with torch.inference_mode():
        expected = model.encode_text(reference(texts), normalize=True).numpy()
    for loaded in (encoder, again):
        ids = [tokens.ids for tokens in loaded.tokenize(texts)]
        np.testing.assert_allclose(loaded.encode(ids), expected, atol=1e-5)
    assert encoder.info.fingerprint == again.info.fingerprint


def test_a_full_disk_is_named() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert hub_reasons.reason_of(full) == "the disk is full"


def test_a_hub_that_answers_too_late_is_named(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_reasons, "ANSWER_TIMEOUT_S", 0.2)
    with hub.held(), pytest.raises(ModelUnavailable, match=r"did not answer within 0\.2 s"):
        fetch(tmp_path)


def test_a_failure_is_foreseen_without_torch_and_without_a_download(
    hub: Hub, tmp_path: Path
) -> None:
    tower = OpenClipTower("ViT-B-32", hub_repo=REPOSITORY)
    spec = ModelSpec("tiny", "tiny", "", tower, tower)
    options = EngineOptions(tmp_path / "none", hub_cache=tmp_path / "cache")
    engine = TorchEngine()
    failure = engine.foresee(spec, options)
    assert "nobody/tiny: not in CLIP_WEIGHTS_DIR" in failure
    assert "no such repository" in failure
    assert failure.count("make export MODEL=tiny") == 1
    with pytest.raises(ModelUnavailable, match="no such repository"):
        engine.load_image(spec, options)
    hub.files[REPOSITORY] = {"open_clip_model.safetensors": b"weights"}
    assert engine.foresee(spec, options) == ""
    assert not any(asked.startswith("GET") for asked in hub.requests)
