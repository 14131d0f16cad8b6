"""Other models' tokenizers: open_clip's ids, from the engine and from a bundle."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ModelUnavailable
from common.models import onnx_engine, torch_engine
from common.models.spec import EngineOptions
from common.models.tokenizer import CHARS_PER_TOKEN, JsonTokenizer
from common.models.torch_engine.tokenizers import ReferenceTokenizer, build_tokenizer, from_hub
from export.fidelity import evaluation_texts
from tests.checkpoints import HUB_PIECES, UNCUT, make_hub_tokenizer, make_uncut_model
from tests.exports import export_with
from tests.reference import import_open_clip

CONTEXT = 16
KINDS: dict[str, dict[str, Any]] = {
    "bert": {"clean": "lower", "strip_sep_token": True},
    "siglip": {"clean": "canonicalize"},
    "plain": {"clean": "whitespace"},
}
TEXTS = [
    *evaluation_texts(),
    "Don't_stop, \t\n(now)!",
    "</s> [SEP] [PAD]",
    "",
    " ",
    "&amp;lt; Ã©tÃ©",
    "狐" * 40,
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}
    for kind, folder in folders.items():
        make_hub_tokenizer(folder, kind)
    return folders


def reference(folders: dict[str, Path], kind: str) -> Any:
    return import_open_clip().tokenizer.HFTokenizer(
        str(folders[kind]), context_length=CONTEXT, **KINDS[kind]
    )


def ours(folders: dict[str, Path], kind: str) -> JsonTokenizer:
    config = {
        "hf_tokenizer_name": str(folders[kind]),
        "tokenizer_kwargs": KINDS[kind],
        "context_length": CONTEXT,
    }
    tokenizer = build_tokenizer("", config, False, UNCUT, EngineOptions(folders[kind]))
    assert isinstance(tokenizer, JsonTokenizer)
    return tokenizer


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_open_clips_also_after_a_file(
    folders: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    tokenizer = ours(folders, kind)
    tokenizer.tokenizer.save(str(tmp_path / "tokenizer.json"))
    read = JsonTokenizer.read(
        tmp_path / "tokenizer.json", CONTEXT, tokenizer.cleaning, tokenizer.erased_id
    )
    expected = reference(folders, kind)(TEXTS).numpy()
    for given_by in (tokenizer, read):
        np.testing.assert_array_equal(
            np.stack([tokens.ids for tokens in given_by(TEXTS)]), expected
        )


def test_ids_of_any_text_are_open_clips(folders: dict[str, Path]) -> None:
    tokenizer, expected = ours(folders, "siglip"), reference(folders, "siglip")

    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
    def check(text: str) -> None:
        assert tokenizer([text])[0].ids.tolist() == expected([text])[0].tolist()

    check()


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_said_to_be_cut_where_ids_were_lost(folders: dict[str, Path], kind: str) -> None:
    short, long = ours(folders, kind)(["a fox", "a photo of two dogs on a beach, " * 20])
    assert (short.truncated, long.truncated) == (False, True)
    assert len(short.ids) == len(long.ids) == CONTEXT


def test_a_text_costs_no_more_than_the_context_could_hold(folders: dict[str, Path]) -> None:
    kept = CONTEXT * CHARS_PER_TOKEN
    huge, bounded = ours(folders, "siglip")(["x" * 100_000, "x" * kept])
    assert huge.ids.tolist() == bounded.ids.tolist()
    assert huge.truncated


def test_a_tokenizer_with_a_way_of_its_own_stays_the_references(folders: dict[str, Path]) -> None:
    tokenizer = reference(folders, "bert")
    tokenizer.tokenizer_mode = "clips"
    assert from_hub(tokenizer, CONTEXT) is None
    config = {"tokenizer_kwargs": {"reduction_mask": "syntax"}, "context_length": CONTEXT}
    options = EngineOptions(folders["bert"])
    assert isinstance(
        build_tokenizer("ViT-B-32", config, False, UNCUT, options), ReferenceTokenizer
    )


def test_a_model_with_such_a_tokenizer_is_bundled(folders: dict[str, Path], tmp_path: Path) -> None:
    """The bundle gives the torch engine's vectors, and checks its tokenizer like its weights."""
    text = {
        "hf_tokenizer_name": str(folders["siglip"]),
        "tokenizer_kwargs": KINDS["siglip"],
        "vocab_size": HUB_PIECES,
    }
    make_uncut_model(tmp_path / "uncut", **text)
    weights = EngineOptions(tmp_path, allow_download=False, num_threads=2)
    bundle = export_with(UNCUT, tmp_path / "out", weights, ["fp32"])
    assert (bundle.manifest.text.tokenizer, bundle.manifest.text.cleaning) == (
        "json",
        "canonicalize",
    )
    texts, vectors = ["A photo of a fox!", "", "two dogs " * 30], []
    served = EngineOptions(tmp_path, allow_download=False, precision="fp32")
    for encoder in (
        torch_engine.load_text_encoder(UNCUT, weights),
        onnx_engine.load_text_encoder(bundle, served),
    ):
        tokens = encoder.tokenize(texts)
        assert [one.truncated for one in tokens] == [False, False, True]
        vectors.append(encoder.encode([one.ids for one in tokens]))
    np.testing.assert_allclose(vectors[1], vectors[0], atol=1e-5)
    with (bundle.folder / "tokenizer.json").open("ab") as file:
        file.write(b" ")
    with pytest.raises(ModelUnavailable, match=r"tokenizer\.json of its bundle has sha256"):
        onnx_engine.load_text_encoder(bundle, served)
