"""Finding, verifying and choosing from bundles."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.batcher import BatchLimits
from common.cloud_storage import CloudStorage
from common.errors import ModelUnavailable
from common.models import onnx_engine
from common.models.bundle import MANIFEST, Bundle, find_bundle, read_bundle
from common.models.catalog import resolve
from common.models.engines import all_engines, choose_engine, engines_for
from common.models.model import open_model
from common.models.spec import EngineOptions

ENGINES = all_engines(CloudStorage())
DEMO = resolve("demo")


@pytest.fixture
def copy(tmp_path: Path) -> Bundle:
    """The shipped bundle where an operator would put one."""
    assert DEMO.bundle is not None
    shutil.copytree(DEMO.bundle, tmp_path / "demo")
    return read_bundle(tmp_path / "demo", DEMO)


def options(folder: Path, **changes: object) -> EngineOptions:
    return EngineOptions(folder, allow_download=False, num_threads=2, **changes)  # type: ignore[arg-type]


def test_the_operators_bundle_wins_over_the_shipped_one(copy: Bundle, tmp_path: Path) -> None:
    found, shipped = (
        find_bundle(DEMO, options(tmp_path)),
        find_bundle(DEMO, options(tmp_path / "empty")),
    )
    assert found is not None
    assert shipped is not None
    assert (found.folder, shipped.folder) == (copy.folder, DEMO.bundle)


def test_a_folder_without_a_manifest_is_no_bundle(copy: Bundle, tmp_path: Path) -> None:
    (copy.folder / MANIFEST).unlink()
    found = find_bundle(DEMO, options(tmp_path))
    assert found is not None
    assert found.folder == DEMO.bundle
    assert find_bundle(resolve("clip"), options(tmp_path)) is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda text: text[: len(text) // 2],
            "manifest.json of its bundle is unreadable or invalid",
        ),
        (
            lambda text: text.replace('"format": 1', '"format": 2'),
            "manifest.json of its bundle is unreadable or invalid",
        ),
        (lambda text: text.replace('"model": "demo"', '"model": "clip"'), "is for model clip"),
    ],
)
def test_a_manifest_that_is_not_right_is_refused(
    copy: Bundle, tmp_path: Path, spoil: Callable[[str], str], message: str
) -> None:
    path = copy.folder / MANIFEST
    path.write_text(spoil(path.read_text()))
    with pytest.raises(ModelUnavailable, match=message):
        find_bundle(DEMO, options(tmp_path))


def test_a_file_that_is_not_right_is_named(copy: Bundle, tmp_path: Path) -> None:
    name = copy.manifest.image.files["int8"]
    good = (copy.folder / name).read_bytes()
    (copy.folder / name).write_bytes(good[:-1])
    with pytest.raises(ModelUnavailable, match=f"{name} of its bundle has sha256"):
        onnx_engine.load_image_encoder(copy, options(tmp_path))
    assert onnx_engine.load_text_encoder(copy, options(tmp_path)).info.precision == "int8"
    (copy.folder / name).unlink()
    with pytest.raises(ModelUnavailable, match=f"{name} of its bundle cannot be read"):
        onnx_engine.load_image_encoder(copy, options(tmp_path))
    (copy.folder / name).write_bytes(good)
    assert onnx_engine.load_image_encoder(copy, options(tmp_path)).info.engine == "onnx"


def test_the_first_batch_shows_vectors_of_the_wrong_kind(copy: Bundle, tmp_path: Path) -> None:
    wrong = Bundle(copy.folder, copy.manifest.model_copy(update={"dimensions": 3}))
    with pytest.raises(ModelUnavailable, match="not unit vectors of 3 dimensions"):
        onnx_engine.load_text_encoder(wrong, options(tmp_path))
    encoder = onnx_engine.load_image_encoder(wrong, options(tmp_path))
    size = encoder.preprocessing.size
    with pytest.raises(ModelUnavailable, match="not unit vectors of 3 dimensions"):
        encoder.encode([np.zeros((size, size, 3), np.uint8)])


def test_a_file_that_the_engine_cannot_read_tells_no_path(copy: Bundle, tmp_path: Path) -> None:
    manifest = copy.manifest.model_copy(
        update={"sha256": copy.manifest.sha256 | {"text.int8.onnx": NOTHING_SHA256}}
    )
    (copy.folder / "text.int8.onnx").write_bytes(b"")
    with pytest.raises(
        ModelUnavailable, match="the text tower of its bundle could not be loaded"
    ) as caught:
        onnx_engine.load_text_encoder(Bundle(copy.folder, manifest), options(tmp_path))
    assert str(tmp_path) not in str(caught.value)


NOTHING_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_precision_that_the_bundle_has_not_is_refused(copy: Bundle) -> None:
    assert copy.choose("text", "auto") == "int8"
    with pytest.raises(ModelUnavailable, match="the text tower of its bundle has int8, not fp32"):
        copy.choose("text", "fp32")


@pytest.mark.parametrize(
    ("engine", "changes", "bundled"),
    [
        ("auto", {}, True),
        ("onnx", {}, True),
        ("torch", {}, False),
        ("auto", {"device": "cuda"}, False),
        ("auto", {"device": "cpu"}, True),
        ("auto", {"precision": "fp16"}, False),
        ("auto", {"precision": "int8"}, True),
    ],
)
def test_auto_takes_a_bundle_unless_the_settings_need_torch(
    tmp_path: Path, engine: str, changes: dict[str, str], bundled: bool
) -> None:
    chosen = options(tmp_path, **changes)
    engines = engines_for(engine, chosen, ENGINES)
    assert choose_engine(DEMO, chosen, engines).name == ("onnx" if bundled else "torch")


def test_onnx_without_a_bundle_says_how_to_get_one(tmp_path: Path) -> None:
    chosen = options(tmp_path)
    clip = resolve("clip")
    assert choose_engine(clip, chosen, engines_for("auto", chosen, ENGINES)).name == "torch"
    with pytest.raises(ModelUnavailable, match=r"model clip: no bundle .*`make export` writes one"):
        choose_engine(clip, chosen, engines_for("onnx", chosen, ENGINES))


def test_preprocessing_comes_from_the_bundle_and_the_operators_choice(
    copy: Bundle, tmp_path: Path
) -> None:
    encoder = onnx_engine.load_image_encoder(copy, options(tmp_path, reference_preprocessing=True))
    assert (encoder.preprocessing.size, encoder.preprocessing.reference) == (64, True)
    assert encoder.preprocessing.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))


def test_random_weights_say_so_in_the_fingerprint(copy: Bundle, tmp_path: Path) -> None:
    path = copy.folder / MANIFEST
    path.write_text(path.read_text().replace('"random_weights": false', '"random_weights": true'))
    model = open_model(DEMO, options(tmp_path), ENGINES, BatchLimits())
    for tower in model.towers:
        tower.wait(60)
    assert model.fingerprint is not None
    assert model.fingerprint.startswith("random-")


def test_the_shipped_bundles_give_unit_vectors() -> None:
    for name in ("demo", "demo-mclip"):
        bundle = find_bundle(resolve(name), options(Path("nowhere")))
        assert bundle is not None
        encoder = onnx_engine.load_text_encoder(bundle, options(Path("nowhere")))
        rows = encoder.encode([tokens.ids for tokens in encoder.tokenize(["狐", "a fox"])])
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
