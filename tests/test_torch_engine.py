"""The torch engine's vectors are open_clip's and multilingual_clip's own, one tower at a time."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.errors import ModelUnavailable
from common.models.catalog import resolve
from common.models.preprocess import Picture, preprocess
from common.models.spec import EngineOptions, ModelSpec, OpenClipTower, Pixels, Vectors
from common.models.torch_engine import load_image_encoder, load_text_encoder
from common.models.weights import MCLIP_TOKENIZER
from tests.checkpoints import MULTILINGUAL_TEXTS, TINY, UNCUT, make_tiny_mclip, make_uncut_model
from tests.reference import import_open_clip

SHORT_AND_LONG = [
    "a fox",
    "",
    "a photo of two dogs on a beach, " * 20,
    "狐 🦊",
    "Hello <b>World</b> &amp; more",
]
DEMO = Path(__file__).parents[1] / "common" / "models" / "demo"


@dataclass
class Reference:
    """open_clip's own model beside a spec that loads the same weights."""

    spec: ModelSpec
    model: Any
    transform: Any
    weights_dir: Path

    @property
    def options(self) -> EngineOptions:
        return EngineOptions(
            self.weights_dir, allow_download=False, num_threads=2, reference_preprocessing=True
        )

    def encode_texts(self, texts: list[str]) -> Vectors:
        import torch

        with torch.inference_mode():
            vectors: Vectors = self.model.encode_text(
                import_open_clip().SimpleTokenizer()(texts), normalize=True
            ).numpy()
        return vectors

    def encode_images(self, images: list[Image.Image]) -> Vectors:
        import torch

        with torch.inference_mode():
            batch = torch.stack([self.transform(image) for image in images])
            vectors: Vectors = self.model.encode_image(batch, normalize=True).numpy()
        return vectors


def with_layers(architecture: str, layers: int, folder: Path) -> str:
    """The name of that architecture with fewer layers, which open_clip knows from now on."""
    open_clip, name = import_open_clip(), f"{architecture}-of-{layers}-layers"
    config = open_clip.get_model_config(architecture)
    for part in ("vision_cfg", "text_cfg"):
        config[part]["layers"] = layers
    (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{name}.json")
    return name


def make_reference(architecture: str, folder: Path) -> Reference:
    """Random weights in the layout of a hub repository's cache folder."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model, _, transform = import_open_clip().create_model_and_transforms(architecture)
    target = folder / "random"
    target.mkdir(parents=True)
    state = {
        name: tensor.contiguous()
        for name, tensor in model.state_dict().items()
        if name != "attn_mask"
    }
    save_file(state, target / "open_clip_model.safetensors")
    tower = OpenClipTower(architecture)
    return Reference(
        ModelSpec("random", architecture, "", tower, tower), model.eval(), transform, folder
    )


@pytest.fixture(scope="module", params=["demo", "ViT-B-32-quickgelu", "ViT-B-16-plus-240"])
def reference(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    effort: Callable[[int, int], int],
) -> Iterator[Reference]:
    """The demo, and the architectures of the presets: two layers of each, all with `--hostile`."""
    folder = tmp_path_factory.mktemp("weights")
    if request.param == "demo":
        model, _, transform = import_open_clip().create_model_and_transforms(
            f"local-dir:{DEMO / 'clip'}"
        )
        yield Reference(resolve("demo"), model.eval(), transform, folder)
    else:
        layers = effort(2, 12)
        yield make_reference(with_layers(request.param, layers, folder), folder)
    shutil.rmtree(folder)


def pictures(count: int) -> list[Image.Image]:
    random = np.random.default_rng(count)
    sizes = random.integers(40, 400, (count, 2))
    return [
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in sizes
    ]


@pytest.mark.parametrize("count", [1, 33])
def test_text_vectors_are_open_clips(reference: Reference, count: int) -> None:
    texts = (SHORT_AND_LONG * 7)[:count]
    encoder = load_text_encoder(reference.spec, reference.options)
    vectors = encoder.encode([tokens.ids for tokens in encoder.tokenize(texts)])
    np.testing.assert_allclose(vectors, reference.encode_texts(texts), atol=1e-5)


@pytest.mark.parametrize("count", [1, 9])
def test_image_vectors_are_open_clips(reference: Reference, count: int) -> None:
    images = pictures(count)
    encoder = load_image_encoder(reference.spec, reference.options)
    pixels: list[Pixels] = [
        preprocess(Picture(image, image.size), encoder.preprocessing) for image in images
    ]
    np.testing.assert_allclose(encoder.encode(pixels), reference.encode_images(images), atol=1e-5)


def test_a_text_tower_is_loaded_without_the_image_towers_tensors(reference: Reference) -> None:
    encoder = load_text_encoder(reference.spec, reference.options)
    held = sum(parameter.numel() for parameter in encoder.module.parameters())  # type: ignore[attr-defined]
    visual = sum(parameter.numel() for parameter in reference.model.visual.parameters())
    whole = sum(parameter.numel() for parameter in reference.model.parameters())
    assert held == whole - visual - 1  # the logit scale


def test_the_same_text_gives_the_same_vector_alone_and_beside_longer_ones(
    reference: Reference,
) -> None:
    encoder = load_text_encoder(reference.spec, reference.options)
    short, long = (tokens.ids for tokens in encoder.tokenize(["a fox", "a fox " * 50]))
    np.testing.assert_allclose(
        encoder.encode([short])[0], encoder.encode([long, short])[1], atol=1e-6
    )


def test_clip_is_built_with_the_activation_that_its_weights_were_trained_with() -> None:
    image = resolve("clip").image
    assert isinstance(image, OpenClipTower)
    config = import_open_clip().get_model_config(image.architecture)
    assert config["quick_gelu"] is True
    entry = import_open_clip().pretrained.get_pretrained_cfg("ViT-B-32", "laion400m_e32")
    assert entry["quick_gelu"] is True
    assert image.hub_repo == entry["hf_hub"].rstrip("/")


def test_a_free_pair_takes_the_activation_of_its_pretrained_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a small tower in the place of ViT-B-32, whose own configuration says GELU."""
    import torch
    from safetensors.torch import load_file

    open_clip, fetched = import_open_clip(), []
    config = json.loads((DEMO / "clip" / "open_clip_config.json").read_text())["model_cfg"]
    weights = DEMO / "clip" / "open_clip_model.safetensors"

    def fetch(repo: str, *_: object) -> Path:
        fetched.append(repo)
        return weights

    monkeypatch.setattr("common.models.weights.fetch_file", fetch)
    monkeypatch.setattr(open_clip, "get_model_config", lambda _: config)
    encoder = load_image_encoder(resolve("ViT-B-32/laion400m_e32"), EngineOptions(tmp_path))
    assert fetched == ["timm/vit_base_patch32_clip_224.laion400m_e32"]
    model = open_clip.CLIP(**config, quick_gelu=True).eval()
    model.load_state_dict(load_file(weights), strict=False)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    batch = (pixels / 255 - encoder.preprocessing.mean) / encoder.preprocessing.std
    with torch.inference_mode():
        images = torch.from_numpy(batch.transpose(0, 3, 1, 2).astype(np.float32))
        expected = model.encode_image(images, normalize=True).numpy()
    np.testing.assert_allclose(encoder.encode(list(pixels)), expected, atol=1e-5)


def test_a_tower_that_is_not_causal_is_run_padded(tmp_path: Path) -> None:
    """SigLIP's text tower pools the last of all positions: shortened texts would change vectors."""
    import torch

    model = make_uncut_model(tmp_path / "uncut")
    encoder = load_text_encoder(UNCUT, EngineOptions(tmp_path, allow_download=False))
    tokenizer = import_open_clip().SimpleTokenizer(context_length=16)
    texts = ["a fox", "a photo of a dog", "x " * 40]
    with torch.inference_mode():
        expected = model.encode_text(tokenizer(texts), normalize=True).numpy()
    vectors = encoder.encode([tokens.ids for tokens in encoder.tokenize(texts)])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_allclose(
        encoder.encode([encoder.tokenize(["a fox"])[0].ids])[0], expected[0], atol=1e-5
    )


@pytest.fixture(scope="module")
def tiny_mclip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder that holds `tiny/text/`."""
    root = tmp_path_factory.mktemp("mclip")
    (root / "tiny" / "text").mkdir(parents=True)
    make_tiny_mclip(root / "tiny" / "text")
    return root


def test_multilingual_vectors_are_multilingual_clips(tiny_mclip: Path) -> None:
    import torch
    from multilingual_clip.Config_MCLIP import MCLIPConfig
    from multilingual_clip.pt_multilingual_clip import MultilingualCLIP
    from transformers import XLMRobertaTokenizerFast

    folder = tiny_mclip / "tiny" / "text"
    model = MultilingualCLIP(MCLIPConfig(str(folder / "base"), 128, 16)).eval()
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    model.load_state_dict(
        {name: tensor for name, tensor in state.items() if not name.endswith("position_ids")}
    )
    tokenizer = XLMRobertaTokenizerFast(vocab_file=str(folder / MCLIP_TOKENIZER))
    encoder = load_text_encoder(TINY, EngineOptions(tiny_mclip, allow_download=False))
    for texts in (MULTILINGUAL_TEXTS[:1], (MULTILINGUAL_TEXTS * 7)[:33]):
        with torch.inference_mode():
            expected = torch.nn.functional.normalize(model(texts, tokenizer), dim=-1).numpy()
        vectors = encoder.encode([tokens.ids for tokens in encoder.tokenize(texts)])
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_multilingual_texts_are_cut_at_512_tokens_and_reported(tiny_mclip: Path) -> None:
    encoder = load_text_encoder(TINY, EngineOptions(tiny_mclip, allow_download=False))
    long, short = encoder.tokenize(["Mozart " * 2000, "Mozart"])
    assert (len(long.ids), long.truncated, short.truncated) == (512, True, False)
    assert (long.ids[0], long.ids[-1]) == (0, 2)
    assert np.isfinite(encoder.encode([long.ids])).all()


def copy_of_demo(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    shutil.copytree(DEMO / "clip", folder)
    return folder


def test_a_wrong_hash_is_refused_and_the_right_file_loads_again(tmp_path: Path) -> None:
    weights = copy_of_demo(tmp_path) / "open_clip_model.safetensors"
    (weights.parent / "SHA256SUMS").write_text(f"{'0' * 64}  {weights.name}\n")
    options = EngineOptions(tmp_path, allow_download=False)
    with pytest.raises(
        ModelUnavailable,
        match=r"model demo: open_clip_model.safetensors has sha256 .*…, expected 0000",
    ):
        load_text_encoder(resolve("demo"), options)
    (weights.parent / "SHA256SUMS").unlink()
    assert load_text_encoder(resolve("demo"), options).info.dimensions == 256


def test_a_wrong_vocabulary_is_refused(tiny_mclip: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_mclip / "tiny" / "text", tmp_path / "tiny" / "text")
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  {MCLIP_TOKENIZER}\n")
    with pytest.raises(ModelUnavailable, match=r"sentencepiece\.bpe\.model has sha256"):
        load_text_encoder(TINY, EngineOptions(tmp_path, allow_download=False))


def test_a_broken_file_is_refused_without_telling_where_it_lies(tmp_path: Path) -> None:
    weights = copy_of_demo(tmp_path) / "open_clip_model.safetensors"
    (weights.parent / "SHA256SUMS").unlink(missing_ok=True)
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelUnavailable) as raised:
        load_image_encoder(resolve("demo"), EngineOptions(tmp_path, allow_download=False))
    assert str(tmp_path) not in str(raised.value)


def test_weights_that_are_nowhere_are_named(tmp_path: Path) -> None:
    options = EngineOptions(tmp_path, allow_download=False, hub_cache=tmp_path)
    with pytest.raises(
        ModelUnavailable, match=r"M-CLIP/XLM-Roberta-Large-Vit-B-16Plus: not in CLIP_WEIGHTS_DIR"
    ):
        load_text_encoder(resolve("mclip"), options)
    with pytest.raises(
        ModelUnavailable,
        match=r"timm/vit_base_patch16_plus_clip_240.laion400m_e32: not in CLIP_WEIGHTS_DIR",
    ):
        load_image_encoder(resolve("mclip"), options)
    with pytest.raises(ModelUnavailable, match=r"open_clip has no architecture 'ViT-Z'"):
        load_text_encoder(resolve("ViT-Z/laion"), options)
    with pytest.raises(
        ModelUnavailable, match=r"open_clip has no weights 'nothing' for ViT-B-32; known: "
    ):
        load_text_encoder(resolve("ViT-B-32/nothing"), options)


def test_a_device_or_precision_that_is_not_there_is_said(tmp_path: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(ModelUnavailable, match="CLIP_DEVICE=cuda, but no CUDA device"):
            load_text_encoder(resolve("demo"), EngineOptions(tmp_path, device="cuda"))
    with pytest.raises(ModelUnavailable, match="CLIP_PRECISION=fp16 needs a GPU"):
        load_text_encoder(resolve("demo"), EngineOptions(tmp_path, device="cpu", precision="fp16"))
