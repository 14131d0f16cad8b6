"""Export: a bundle has the same vectors, passes a gate, and is never half written."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from common.errors import ModelUnavailable
from common.models import onnx_engine, torch_engine
from common.models.bundle import Bundle, Fidelity, find_bundle, read_bundle
from common.models.catalog import resolve
from common.models.spec import EngineOptions, Pixels, TokenIds, Vectors
from export import emoji, fidelity
from export.__main__ import export, main
from export.quantize import RowQuantizer, quantize_weights
from tests.checkpoints import MULTILINGUAL_TEXTS, TINY, UNCUT, make_tiny_mclip, make_uncut_model
from tests.demo_recall import captions, picture_vectors, pictures, recall
from tests.exports import BOTH, export_with

DEMO = resolve("demo")
TEXTS = [
    "a fox",
    "",
    "a photo of two dogs on a beach, " * 20,
    "狐 🦊",
    "Hello <b>World</b> &amp; more",
]
NOWHERE = Path("no-such-folder")


def options(precision: str = "auto", weights_dir: Path = NOWHERE) -> EngineOptions:
    return EngineOptions(weights_dir, allow_download=False, precision=precision, num_threads=2)  # type: ignore[arg-type]


def random_pixels(count: int, size: int) -> list[Pixels]:
    return list(
        np.random.default_rng(count).integers(0, 256, (count, size, size, 3)).astype(np.uint8)
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bundle]:
    """The demo exported afresh, in both precisions."""
    folder = tmp_path_factory.mktemp("weights") / "demo"
    export(DEMO, folder, BOTH, random_weights=False)
    yield read_bundle(folder, DEMO)
    shutil.rmtree(folder)


def text_vectors(bundle: Bundle, precision: str, texts: list[str]) -> Vectors:
    encoder = onnx_engine.load_text_encoder(bundle, options(precision))
    return encoder.encode([tokens.ids for tokens in encoder.tokenize(texts)])


@pytest.mark.parametrize("count", [1, 33])
def test_fp32_text_vectors_are_the_torch_engines(demo: Bundle, count: int) -> None:
    texts = (TEXTS * 7)[:count]
    reference = torch_engine.load_text_encoder(DEMO, options())
    expected = reference.encode([tokens.ids for tokens in reference.tokenize(texts)])
    np.testing.assert_allclose(text_vectors(demo, "fp32", texts), expected, atol=1e-5)


@pytest.mark.parametrize("count", [1, 33])
def test_fp32_image_vectors_are_the_torch_engines(demo: Bundle, count: int) -> None:
    """With the normalisation of pixels inside the graph."""
    pixels = random_pixels(count, 64)
    encoder = onnx_engine.load_image_encoder(demo, options("fp32"))
    expected = torch_engine.load_image_encoder(DEMO, options()).encode(pixels)
    np.testing.assert_allclose(encoder.encode(pixels), expected, atol=1e-5)


@pytest.mark.parametrize("at", [1, 5])
def test_int8_keeps_the_recall_of_fp32_within_a_point(demo: Bundle, at: int) -> None:
    texts = text_vectors(demo, "int8", [entry["en"] for entry in emoji.names()])
    images = picture_vectors(onnx_engine.load_image_encoder(demo, options("int8")), "google")
    fp32 = recall(captions("demo", "en"), pictures("google"), at)
    assert recall(texts, images, at) == pytest.approx(fp32, abs=0.01)


def test_an_int8_vector_does_not_depend_on_its_neighbours(demo: Bundle) -> None:
    together = text_vectors(demo, "int8", TEXTS)
    alone = np.concatenate([text_vectors(demo, "int8", [text]) for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_int8_products_cannot_saturate_16_bits(demo: Bundle) -> None:
    """Without VNNI two products of a uint8 activation and an int8 weight are added in 16 bits."""
    for name in ("text.int8.onnx", "image.int8.onnx"):
        graph = onnx.load(demo.folder / name).graph
        constants = {tensor.name: tensor for tensor in graph.initializer}
        products = [node for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
        assert len(products) >= 14  # layers of 4, a last one of 5, and the projection
        for node in products:
            weights = numpy_helper.to_array(constants[node.input[1]]).astype(int)
            assert np.abs(weights).max() * 255 * 2 <= np.iinfo(np.int16).max
        floats = sum(
            tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
            for tensor in constants.values()
        )
        assert floats <= 2, (
            "matrices were left in float32"
        )  # the position table, and all that is not a matrix product


@pytest.mark.parametrize("kind", ["Gelu", "Relu"])
@pytest.mark.parametrize("shape", [["rows", 32], ["n", "rows", 32], None])
def test_a_quantized_product_is_near_whatever_the_rows_are(
    kind: str, shape: list[str | int] | None
) -> None:
    """Small and large rows, zeros, with and without GELU; the tensor's rank known and unknown."""
    random = np.random.default_rng(5)
    weights, bias = (
        random.normal(size=(32, 24)).astype(np.float32),
        random.normal(size=24).astype(np.float32),
    )
    batch = random.normal(size=(7, 32)).astype(np.float32) * np.array(
        [[0], [1e-4], [0.1], [1], [9], [200], [-1]]
    )
    batch = batch.astype(np.float32).reshape((1, 7, 32) if shape and len(shape) == 3 else (7, 32))
    kinds = (helper.make_node(kind, ["x"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["p"]))
    float_type = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [*kinds, helper.make_node("Add", ["p", "b"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", float_type, [None] * batch.ndim)],
        [helper.make_tensor_value_info("y", float_type, [None] * batch.ndim)],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
        value_info=[helper.make_tensor_value_info("a", float_type, shape)] if shape else [],
    )
    opsets = [helper.make_opsetid("", 20)]
    outputs = []
    for change in (lambda model: model, lambda model: RowQuantizer(model).run()):
        model = change(helper.make_model(graph, opset_imports=opsets, ir_version=10))
        session = ort.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        outputs.append(session.run(None, {"x": batch})[0])
    expected, given = (output.reshape(7, 24) for output in outputs)
    largest = np.abs(expected).max(axis=1, keepdims=True)
    assert (np.abs(given - expected) <= 0.04 * largest).all()


def test_quantized_weights_are_within_half_a_step() -> None:
    weights = np.random.default_rng(1).normal(size=(40, 30)).astype(np.float32)
    for axis in (0, 1):
        values, scales = quantize_weights(weights, axis)
        restored = values * (scales if axis == 0 else scales[:, None])
        assert (
            np.abs(restored - weights) <= (scales if axis == 0 else scales[:, None]) / 2 + 1e-7
        ).all()


def test_the_manifest_shows_fidelity_sums_and_versions(demo: Bundle) -> None:
    manifest = json.loads((demo.folder / "manifest.json").read_text())
    assert manifest["text"]["fidelity"]["int8"]["cosine_min"] >= 0.98
    assert manifest["overlap"]["int8"] >= 0.9
    assert set(manifest["sha256"]) == {path.name for path in demo.folder.iterdir()} - {
        "manifest.json"
    }
    assert manifest["dimensions"] == 256
    assert manifest["versions"]["onnx"] == onnx.__version__
    assert not manifest["random_weights"]


def test_a_multilingual_tower_is_exported(tmp_path: Path) -> None:
    (tmp_path / "tiny" / "text").mkdir(parents=True)
    make_tiny_mclip(tmp_path / "tiny" / "text", dimensions=256)  # as the image tower's
    spec = replace(TINY, image=DEMO.image)
    weights = options(weights_dir=tmp_path)
    reference = torch_engine.load_text_encoder(spec, weights)
    bundle = export_with(spec, tmp_path / "out", weights, ["fp32"])
    items: list[TokenIds] = [tokens.ids for tokens in reference.tokenize(MULTILINGUAL_TEXTS * 3)]
    encoder = onnx_engine.load_text_encoder(bundle, options("fp32"))
    np.testing.assert_allclose(encoder.encode(items), reference.encode(items), atol=1e-5)
    assert [tokens.ids.tolist() for tokens in encoder.tokenize(MULTILINGUAL_TEXTS * 3)] == [
        i.tolist() for i in items
    ]


def test_towers_that_do_not_fit_the_plain_ones_are_exported_as_they_are(tmp_path: Path) -> None:
    make_uncut_model(tmp_path / "uncut")
    weights = options(weights_dir=tmp_path)
    bundle = export_with(UNCUT, tmp_path / "out", weights, ["fp32"])
    assert bundle.manifest.text.length == 16
    reference = torch_engine.load_text_encoder(UNCUT, weights)
    items = [tokens.ids for tokens in reference.tokenize(TEXTS)]
    encoder = onnx_engine.load_text_encoder(bundle, options("fp32"))
    np.testing.assert_allclose(encoder.encode(items), reference.encode(items), atol=1e-5)
    pixels = random_pixels(3, 32)
    images = onnx_engine.load_image_encoder(bundle, options("fp32"))
    expected = torch_engine.load_image_encoder(UNCUT, weights).encode(pixels)
    np.testing.assert_allclose(images.encode(pixels), expected, atol=1e-5)


def test_the_command_says_what_fails_the_gate_and_does_not_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fidelity, "RANKED", 60)
    monkeypatch.setitem(fidelity.FLOORS, "int8", fidelity.Floor(cosine_min=1.1, cosine_mean=0.9))
    assert main(["demo", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "Demo CLIP on emoji, 256 dimensions" in printed
    assert "text   int8      refused" in printed
    assert "the floor is 1.1" in printed
    bundle = read_bundle(tmp_path / "demo", DEMO)
    assert sorted(path.name for path in bundle.folder.iterdir()) == [
        "image.fp32.onnx",
        "image.fp32.onnx.weights",
        "manifest.json",
        "text.fp32.onnx",
    ]
    assert bundle.choose("text", "auto") == "fp32"
    with pytest.raises(
        ModelUnavailable,
        match=r"has fp32, not int8 \(the export rejected it: its smallest cosine .* is 0\.99",
    ):
        bundle.choose("text", "int8")


GOOD = Fidelity(cosine_min=0.99, cosine_mean=0.999, neighbours_min=0.9999, largest_difference=0.01)


@pytest.mark.parametrize(
    ("changed", "overlap", "reason"),
    [
        ({}, 0.95, ""),
        (
            {"cosine_min": 0.97},
            0.95,
            "its smallest cosine to the reference is 0.97000, the floor is 0.98",
        ),
        ({"cosine_mean": 0.99}, 0.95, "its mean cosine"),
        ({"neighbours_min": 0.999}, 0.95, "alone and in a batch is 0.99900, the floor is 0.9995"),
        ({}, 0.85, "the overlap of the top 10 is 0.85000, the floor is 0.9"),
        ({"cosine_min": float("nan")}, 0.95, "its smallest cosine to the reference is nan"),
    ],
)
def test_the_gate_says_what_was_measured(
    changed: dict[str, float], overlap: float, reason: str
) -> None:
    said = fidelity.refusal("int8", GOOD.model_copy(update=changed), overlap)
    assert (reason in said) if reason else (said == "")


def test_a_failed_export_leaves_what_was_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    former = tmp_path / "nobody-nothing"
    former.mkdir()
    (former / "manifest.json").write_text("former")
    assert main(["nobody/nothing", "--out", str(tmp_path)]) == 1
    assert "not exported: model nobody/nothing" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["nobody-nothing"]
    assert (former / "manifest.json").read_text() == "former"
    assert main(["no-such-model"]) == 1


def test_the_shipped_bundles_are_of_the_shipped_weights() -> None:
    for name in ("demo", "demo-mclip"):
        spec = resolve(name)
        bundle = find_bundle(spec, options())
        assert bundle is not None
        assert bundle.folder == spec.bundle
        for load, tower in (
            (torch_engine.load_text_encoder, "text"),
            (torch_engine.load_image_encoder, "image"),
        ):
            described = getattr(bundle.manifest, tower)
            assert described.weights_sha256 == load(spec, options()).info.weights_sha256
            assert described.rejected == {}
