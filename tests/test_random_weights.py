"""`python -m export MODEL --random-weights`: every preset has a bundle of its shape, without a hub.

The shapes are made small here; the layout of the files and the way through the export are the same.
"""

from copy import deepcopy
from pathlib import Path

import pytest

from common.errors import ModelUnavailable
from common.models.bundle import Bundle, read_bundle
from common.models.bundle_fingerprint import fingerprints_of
from common.models.catalog import CATALOG, resolve
from common.models.spec import EngineOptions, ModelSpec, OpenClipTower
from export import random_weights, tables
from export.__main__ import main
from export.vocabulary import write_gemma_tokenizer
from tests.kinds import TIMM_SIZE, register_tiny_vit
from tests.reference import import_open_clip

VOCABULARY = 3000
SMALL_TEXT = {"vocab_size": VOCABULARY, "width": 128, "heads": 2, "layers": 1}
SMALL_IMAGE = {"image_size": 32, "patch_size": 16, "layers": 1, "width": 64}
SMALL_HF = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


@pytest.fixture(autouse=True)
def small_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shapes of the presets, small."""
    register_tiny_vit()
    configs = import_open_clip().factory._MODEL_CONFIGS
    siglip = deepcopy(configs["ViT-B-32-SigLIP2-256"])
    siglip["text_cfg"] |= SMALL_TEXT
    siglip["vision_cfg"] |= {"timm_model_name": "tiny_vit", "image_size": TIMM_SIZE}
    siglip["embed_dim"] = 128
    monkeypatch.setitem(configs, "ViT-B-32-SigLIP2-256", siglip)
    base = deepcopy(configs["xlm-roberta-base-ViT-B-32"])
    base["vision_cfg"] = SMALL_IMAGE
    monkeypatch.setitem(configs, "xlm-roberta-base-ViT-B-32", base)
    encoders = {"xlm-roberta-base": random_weights.HF_ENCODERS["xlm-roberta-base"] | SMALL_HF}
    monkeypatch.setattr(random_weights, "HF_ENCODERS", encoders)
    monkeypatch.setattr(tables, "TABLE_BYTES", VOCABULARY * 64)


def exported(model: str, folder: Path) -> Bundle:
    assert main([model, "--random-weights", "--out", str(folder)]) == 0
    return read_bundle(folder / model, resolve(model))


def test_siglip_is_exported_with_its_own_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = exported("siglip2", tmp_path)
    assert "RANDOM WEIGHTS, for benchmarks only" in capsys.readouterr().out
    manifest = bundle.manifest
    # its tokenizer.json is kept as the vocabulary of sentencepiece, which takes less memory
    assert (manifest.text.tokenizer, manifest.text.length) == ("pieces", 64)
    assert manifest.logit_bias is not None
    assert (manifest.image.preprocessing["mean"], manifest.image.preprocessing["resize_mode"]) == (
        [0.5] * 3,
        "squash",
    )
    assert set(manifest.text.files) == {"int8", "fp32"}
    # int8 rows beside the graph: mapped, never widened as a whole
    assert (bundle.folder / "text.int8.onnx.data").stat().st_size == VOCABULARY * 128
    options = EngineOptions(tmp_path)
    assert fingerprints_of(bundle, options).pair.startswith("random-")


def test_a_hugging_face_encoder_is_exported_with_its_vocabulary(tmp_path: Path) -> None:
    """A changed table of it is refused as any other file."""
    bundle = exported("mclip-base", tmp_path)
    manifest = bundle.manifest
    assert (manifest.text.tokenizer, manifest.text.length) == ("xlmr_cleaned", None)
    assert "sentencepiece.bpe.model" in manifest.sha256
    data = bundle.folder / "text.int8.onnx.data"
    data.write_bytes(b"\0" + data.read_bytes()[1:])
    with pytest.raises(ModelUnavailable, match=r"text\.int8\.onnx\.data of its bundle has sha256"):
        bundle.verified("text.int8.onnx")


def test_every_preset_can_have_random_weights() -> None:
    """An encoder of Hugging Face's needs its shape in a table, because the hub is not asked."""
    for spec in CATALOG:
        for tower in (spec.text, spec.image):
            assert tower.family in random_weights.WRITERS
            if isinstance(tower, OpenClipTower) and not tower.folder:
                config = import_open_clip().get_model_config(tower.architecture)
                name = config["text_cfg"].get("hf_model_name")
                assert name is None or name in random_weights.HF_ENCODERS


def test_a_shape_that_only_the_hub_knows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tower = OpenClipTower("roberta-ViT-B-32", "laion2b_s12b_b32k")
    spec = ModelSpec("roberta", "roberta", "", tower, tower)
    with pytest.raises(ModelUnavailable, match="not possible for roberta-base, only for xlm-robe"):
        random_weights.write_random_weights(spec, tmp_path)
    assert main(["demo", "--random-weights", "--out", str(tmp_path)]) == 1
    assert "whose shape open_clip knows by name" in capsys.readouterr().err


def test_a_made_up_vocabulary_has_its_size_and_knows_the_words_whole(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    write_gemma_tokenizer(["photo", "hotel", "red"], 5000, tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == 5000
    assert tokenizer.encode("photo red hotel").tokens == ["photo", "▁red", "▁hotel", "<eos>"]
    assert tokenizer.encode("\N{SNOWMAN}").tokens == ["<0xE2>", "<0x98>", "<0x83>", "<eos>"]
