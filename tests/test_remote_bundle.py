"""CLIP_WEIGHTS_URI: a bundle that comes from a bucket when it is loaded, verified, and leaves no file behind."""

import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from common.models.registry import build_model, choose_bundle

from common import storage
from common.config import Settings, SettingsError
from common.errors import ModelUnavailable
from common.models import onnx_engine, remote_bundle
from common.models.bundle import MANIFEST, TOKENIZERS, Bundle, read_bundle
from common.models.catalog import resolve
from common.models.spec import EngineOptions
from tests.bucket import BUCKET, Bucket, serving_bucket
from tests.e2e.server import serve

DEMO = resolve("demo-mclip")
URI = f"gs://{BUCKET}/demo"  # that nobody reads
SHIPPED = DEMO.bundle or Path()
FILES = {path.name for path in SHIPPED.iterdir()}


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """The demo's bundle in a bucket; temporary files go to `tmp_path`."""
    with serving_bucket() as served:
        served.upload_folder(SHIPPED, served.folder)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", served.host)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        storage.storage_client.cache_clear()
        yield served
        storage.storage_client.cache_clear()


def options(uri: str) -> EngineOptions:
    return EngineOptions(Path("nowhere"), uri, allow_download=False, num_threads=2)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_both_towers_come_from_the_bucket_and_leave_only_the_manifest(bucket: Bucket, tmp_path: Path) -> None:
    model = build_model(DEMO, options(bucket.uri), Settings.from_env({}))
    encoder = model.text.wait(60)
    assert set(bucket.ranges) == {"text.int8.onnx", TOKENIZERS["xlmr"]}, "a text tower takes no image tower's bytes"
    model.image.wait(60)
    assert set(bucket.ranges) == FILES - {MANIFEST}
    assert files_in(tmp_path) == {MANIFEST}
    ours = onnx_engine.load_text_encoder(read_bundle(SHIPPED, DEMO), options(bucket.uri))
    rows = [tokens.ids for tokens in ours.tokenize(["狐", "a fox"])]
    np.testing.assert_array_equal(encoder.encode(rows), ours.encode(rows))
    assert (model.fingerprint or "").isalnum()


def test_a_large_file_comes_in_ranges_side_by_side(bucket: Bucket, tmp_path: Path) -> None:
    """Each range waits in the bucket until eight are asked for: one after the other they would wait for ever."""
    original = SHIPPED / "image.int8.onnx"
    parts = storage.PARALLEL_RANGES
    bucket.together = threading.Barrier(parts)
    storage.download_file(f"{bucket.uri}/{original.name}", tmp_path / "copy", -(-original.stat().st_size // parts))
    assert (tmp_path / "copy").read_bytes() == original.read_bytes()
    assert len(bucket.ranges[original.name]) == parts


def test_a_file_that_is_not_the_manifests_is_refused_and_removed(bucket: Bucket, tmp_path: Path) -> None:
    spoiled = (SHIPPED / "image.int8.onnx").read_bytes()[:-1] + b"?"
    bucket.upload({f"{bucket.folder}/image.int8.onnx": spoiled})
    bundle = choose_bundle(DEMO, options(bucket.uri), "auto")
    assert bundle is not None
    with pytest.raises(ModelUnavailable, match=r"image\.int8\.onnx of its bundle has sha256"):
        onnx_engine.load_image_encoder(bundle, options(bucket.uri))
    assert files_in(tmp_path) == {MANIFEST}
    bucket.upload({f"{bucket.folder}/image.int8.onnx": (SHIPPED / "image.int8.onnx").read_bytes()})
    assert onnx_engine.load_image_encoder(bundle, options(bucket.uri)).info.engine == "onnx"


def test_a_manifest_cannot_name_files_elsewhere(bucket: Bucket, tmp_path: Path) -> None:
    bundle = choose_bundle(DEMO, options(bucket.uri), "auto")
    assert isinstance(bundle, remote_bundle.RemoteBundle)
    outside = bundle.manifest.model_copy(update={"sha256": {"../secret": "0" * 64}})
    for name in ("../secret", "unknown.onnx"):
        with pytest.raises(ModelUnavailable, match="has no sha256 of"):
            remote_bundle.RemoteBundle(tmp_path / "in", outside, bucket.uri).verified(name)


def test_what_is_not_there_is_said_and_is_not_for_ever(bucket: Bucket) -> None:
    elsewhere = f"gs://{BUCKET}/later"
    with pytest.raises(ModelUnavailable, match=r"manifest\.json in CLIP_WEIGHTS_URI: there is no such object"):
        choose_bundle(DEMO, options(elsewhere), "auto")
    with pytest.raises(ModelUnavailable, match="there is no such object"):
        choose_bundle(DEMO, options("gs://no-such-bucket"), "auto")
    bucket.upload_folder(SHIPPED, "later")
    assert choose_bundle(DEMO, options(elsewhere + "/"), "auto") is not None


def test_another_models_bundle_is_refused(bucket: Bucket) -> None:
    with pytest.raises(ModelUnavailable, match="is of model demo-mclip"):
        choose_bundle(resolve("demo"), options(bucket.uri), "auto")


def test_without_the_optional_library_the_error_names_it(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud", None)
    with pytest.raises(ModelUnavailable, match=r"pip install -r requirements-storage\.txt"):
        choose_bundle(DEMO, options(bucket.uri), "auto")


def test_a_local_bundle_keeps_its_files(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "demo-mclip")
    bundle: Bundle = read_bundle(tmp_path / "demo-mclip", DEMO)
    onnx_engine.load_text_encoder(bundle, options(""))
    assert files_in(tmp_path / "demo-mclip") == FILES


@pytest.mark.parametrize(
    "settings",
    [
        {"CLIP_WEIGHTS_URI": "https://example.com/bundle"},
        {"CLIP_WEIGHTS_URI": "gs://"},
        {"CLIP_WEIGHTS_URI": URI, "CLIP_ENGINE": "torch"},
        {"CLIP_WEIGHTS_URI": URI, "CLIP_PRECISION": "fp16"},
    ],
)
def test_a_uri_that_would_be_ignored_stops_the_start(settings: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="CLIP_WEIGHTS_URI"):
        Settings.from_env(settings)


def test_the_process_serves_a_bundle_from_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    settings: Any = {
        "CLIP_MODEL": DEMO.id,
        "CLIP_WEIGHTS_URI": bucket.uri,
        "TMPDIR": str(temporary),
        "CLIP_HEALTH_WAIT_S": "60",
    }
    with serve(tmp_path, **settings) as server:
        assert server.get("/health").json()["status"] == "healthy"
        assert server.post("/embed/text", {"texts": ["ein Fuchs"]}).status_code == 200
        assert {path.name for path in temporary.rglob("*") if path.suffix in (".onnx", ".model")} == set()
        fetched = {record["file"] for record in server.records() if record["message"] == "weights fetched"}
        assert fetched == FILES - {MANIFEST}
