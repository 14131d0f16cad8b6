"""Every kind of tower: loaded alone, equal to open_clip's, exported, and served without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from common.models import onnx_engine, torch_engine
from common.models.bundle import Bundle
from common.models.bundle_fingerprint import fingerprint_of, fingerprints_of
from common.models.preprocess import normalize
from common.models.spec import EngineOptions, ModelSpec, OpenClipTower, Pixels
from common.models.torch_engine import open_clip_build
from tests.exports import export_with
from tests.kinds import KINDS, make_model
from tests.reference import import_open_clip

TEXTS = ["a fox", "", "a photo of two dogs on a beach, " * 20, "狐 Hello", "A &amp; B"]
SPEC = ModelSpec("kind", "kind", "", OpenClipTower(), OpenClipTower())


@dataclass
class Made:
    """One kind: open_clip's model, its folder, and where the engines find it."""

    kind: str
    model: Any
    folder: Path

    def options(self, precision: str = "auto") -> EngineOptions:
        weights_dir = self.folder.parent
        return EngineOptions(weights_dir, allow_download=False, precision=precision, num_threads=2)  # type: ignore[arg-type]

    def tokenize(self, texts: list[str]) -> Any:
        """By open_clip's own tokenizer."""
        tokenizer = import_open_clip().tokenizer
        if self.kind == "siglip":
            folder = str(self.folder / "text")
            return tokenizer.HFTokenizer(folder, context_length=16, clean="canonicalize")(texts)
        if self.kind == "xlm-roberta":
            return tokenizer.HFTokenizer(str(self.folder / "text"), context_length=16)(texts)
        return tokenizer.SimpleTokenizer(context_length=16)(texts)


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("weights") / "kind"
    folder.mkdir()
    return Made(request.param, make_model(request.param, folder), folder)


@pytest.fixture(scope="module")
def bundle(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export_with(SPEC, tmp_path_factory.mktemp("bundle") / "kind", made.options())


def pixels(size: int) -> list[Pixels]:
    shape = (3, size, size, 3)
    return list(np.random.default_rng(5).integers(0, 256, shape).astype(np.uint8))


def test_each_tower_is_loaded_alone_and_equals_open_clips(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.delattr(open_clip_build, "_build_whole")
    text = torch_engine.load_text_encoder(SPEC, made.options())
    image = torch_engine.load_image_encoder(SPEC, made.options())
    items = pixels(image.preprocessing.size)
    batch = torch.from_numpy(normalize(items, image.preprocessing))
    with torch.inference_mode():
        texts = made.model.encode_text(made.tokenize(TEXTS), normalize=True).numpy()
        images = made.model.encode_image(batch, normalize=True).numpy()
    ids = [tokens.ids for tokens in text.tokenize(TEXTS)]
    np.testing.assert_allclose(text.encode(ids), texts, atol=1e-5)
    np.testing.assert_allclose(image.encode(items), images, atol=1e-5)
    for place, one in enumerate(ids):
        np.testing.assert_allclose(text.encode([one])[0], texts[place], atol=1e-5)


def test_a_bundle_of_it_needs_no_torch_and_gives_the_same(made: Made, bundle: Bundle) -> None:
    text = torch_engine.load_text_encoder(SPEC, made.options())
    image = torch_engine.load_image_encoder(SPEC, made.options())
    items = pixels(image.preprocessing.size)
    ids = [tokens.ids for tokens in text.tokenize(TEXTS)]
    for precision, tolerance in (("fp32", 1e-5), ("int8", 0.05)):
        options = made.options(precision)
        served = onnx_engine.load_text_encoder(bundle, options)
        tokens = served.tokenize(TEXTS)
        assert [token.ids.tolist() for token in tokens] == [row.tolist() for row in ids]
        np.testing.assert_allclose(served.encode(ids), text.encode(ids), atol=tolerance)
        pictures = onnx_engine.load_image_encoder(bundle, options)
        np.testing.assert_allclose(pictures.encode(items), image.encode(items), atol=tolerance)
    assert (bundle.manifest.logit_bias is None) is (made.kind != "siglip")
    for name in () if made.kind == "coca" else ("text", "image"):
        graph = onnx.load(bundle.folder / f"{name}.fp32.onnx").graph
        assert "MultiHeadAttention" in {node.op_type for node in graph.node}, (
            f"the {name} tower must have a plain export with fused attention"
        )
    cut = bundle.manifest.text.length is None
    assert cut is (made.kind in ("xlm-roberta", "timm")), (
        "short texts must not cost as much as the longest"
    )


def test_both_engines_have_one_fingerprint_in_one_precision(made: Made, bundle: Bundle) -> None:
    """Known from the manifest alone; int8 has another."""
    text = torch_engine.load_text_encoder(SPEC, made.options())
    image = torch_engine.load_image_encoder(SPEC, made.options())
    prefix = "random-"
    fp32, int8 = (fingerprints_of(bundle, made.options(name)) for name in ("fp32", "int8"))
    assert fp32.text == prefix + text.info.fingerprint
    assert fp32.image == prefix + image.info.fingerprint
    assert len({fp32.text, fp32.image, fp32.pair, int8.text, int8.image, int8.pair}) == 6
    served = onnx_engine.load_text_encoder(bundle, made.options("int8"))
    assert served.info.fingerprint == fingerprint_of("text", bundle, made.options("int8"))
