"""CLIP_WEIGHTS_URI: a bundle is loaded from a bucket, verified, and leaves no file behind."""

import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.batcher import BatchLimits
from common.cloud_storage import PARALLEL_RANGES
from common.config import Settings, SettingsError
from common.errors import ModelUnavailable
from common.models import onnx_engine
from common.models.bundle import MANIFEST, TOKENIZERS, Bundle, read_bundle
from common.models.catalog import resolve
from common.models.engines.onnx import OnnxEngine
from common.models.model import open_model
from common.models.remote_bundle import RemoteBundle, open_remote_bundle
from common.models.spec import EngineOptions, ModelSpec
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
        yield served


def options(uri: str) -> EngineOptions:
    return EngineOptions(Path("nowhere"), uri, allow_download=False, num_threads=2)


def remote(bucket: Bucket, uri: str = "", spec: ModelSpec = DEMO) -> RemoteBundle:
    return open_remote_bundle(uri or bucket.uri, spec, bucket.reader)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_both_towers_come_from_the_bucket_and_leave_only_the_manifest(
    bucket: Bucket, tmp_path: Path
) -> None:
    engine = OnnxEngine(bucket.reader)
    model = open_model(DEMO, options(bucket.uri), [engine], BatchLimits())
    encoder = model.text.wait(60)
    assert set(bucket.ranges) == {"text.int8.onnx", TOKENIZERS["xlmr"]}, (
        "a text tower takes no image tower's bytes"
    )
    model.image.wait(60)
    assert set(bucket.ranges) == FILES - {MANIFEST}
    assert files_in(tmp_path) == {MANIFEST}
    ours = onnx_engine.load_text_encoder(read_bundle(SHIPPED, DEMO), options(bucket.uri))
    rows = [tokens.ids for tokens in ours.tokenize(["狐", "a fox"])]
    np.testing.assert_array_equal(encoder.encode(rows), ours.encode(rows))
    assert (model.fingerprint or "").isalnum()


def test_a_large_file_comes_in_ranges_side_by_side(bucket: Bucket, tmp_path: Path) -> None:
    """The bucket answers once eight ranges are requested: one by one, they would wait forever."""
    original = SHIPPED / "image.int8.onnx"
    parts = PARALLEL_RANGES
    bucket.together = threading.Barrier(parts)
    range_bytes = -(-original.stat().st_size // parts)
    bucket.reader.download_file(f"{bucket.uri}/{original.name}", tmp_path / "copy", range_bytes)
    assert (tmp_path / "copy").read_bytes() == original.read_bytes()
    assert len(bucket.ranges[original.name]) == parts


def test_a_file_that_is_not_the_manifests_is_refused_and_removed(
    bucket: Bucket, tmp_path: Path
) -> None:
    spoiled = (SHIPPED / "image.int8.onnx").read_bytes()[:-1] + b"?"
    bucket.upload({f"{bucket.folder}/image.int8.onnx": spoiled})
    bundle = remote(bucket)
    with pytest.raises(ModelUnavailable, match=r"image\.int8\.onnx of its bundle has sha256"):
        onnx_engine.load_image_encoder(bundle, options(bucket.uri))
    assert files_in(tmp_path) == {MANIFEST}
    bucket.upload({f"{bucket.folder}/image.int8.onnx": (SHIPPED / "image.int8.onnx").read_bytes()})
    assert onnx_engine.load_image_encoder(bundle, options(bucket.uri)).info.engine == "onnx"


def test_a_manifest_cannot_name_files_elsewhere(bucket: Bucket, tmp_path: Path) -> None:
    bundle = remote(bucket)
    outside = bundle.manifest.model_copy(update={"sha256": {"../secret": "0" * 64}})
    folder, secret = tmp_path / "in", tmp_path / "secret"
    folder.mkdir()
    secret.touch()
    for name in ("../secret", "unknown.onnx"):
        with pytest.raises(ModelUnavailable, match="has no sha256 of"):
            RemoteBundle(folder, outside, bucket.uri, bucket.reader).verified(name)
    assert secret.exists()


def test_what_is_not_there_is_said_and_is_not_for_ever(bucket: Bucket) -> None:
    elsewhere = f"gs://{BUCKET}/later"
    with pytest.raises(
        ModelUnavailable, match=r"manifest\.json in CLIP_WEIGHTS_URI: no such object"
    ):
        remote(bucket, elsewhere)
    with pytest.raises(ModelUnavailable, match="no such object"):
        remote(bucket, "gs://no-such-bucket")
    bucket.upload_folder(SHIPPED, "later")
    assert remote(bucket, elsewhere + "/").manifest.model == DEMO.id


def test_another_models_bundle_is_refused(bucket: Bucket) -> None:
    with pytest.raises(ModelUnavailable, match="is for model demo-mclip"):
        remote(bucket, spec=resolve("demo"))


def test_without_the_optional_library_the_error_names_it(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud", None)
    with pytest.raises(ModelUnavailable, match=r"pip install -r requirements-storage\.txt"):
        remote(bucket)


def test_a_local_bundle_keeps_its_files(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "demo-mclip")
    bundle: Bundle = read_bundle(tmp_path / "demo-mclip", DEMO)
    onnx_engine.load_text_encoder(bundle, options(""))
    assert files_in(tmp_path / "demo-mclip") == FILES


@pytest.mark.parametrize("uri", ["https://example.com/bundle", "gs://"])
def test_a_uri_that_is_not_a_buckets_stops_the_start(uri: str) -> None:
    with pytest.raises(SettingsError, match="CLIP_WEIGHTS_URI"):
        Settings.from_env({"CLIP_WEIGHTS_URI": uri})


@pytest.mark.parametrize("setting", [{"CLIP_ENGINE": "torch"}, {"CLIP_PRECISION": "fp16"}])
def test_settings_that_would_ignore_the_uri_stop_the_start(
    setting: dict[str, str], tmp_path: Path
) -> None:
    server = serve(tmp_path, **{"CLIP_WEIGHTS_URI": URI, **setting})  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"cannot start: .*bucket's bundle"), server:
        pass


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
        assert {
            path.name for path in temporary.rglob("*") if path.suffix in (".onnx", ".model")
        } == set()
        fetched = {
            record["file"] for record in server.records() if record["message"] == "weights fetched"
        }
        assert fetched == FILES - {MANIFEST}
