"""The fingerprints of a model on disk: one changed bit of what they cover changes them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open

from common.batcher import BatchLimits
from common.errors import ModelUnavailable
from common.files import sha256_of
from common.models import torch_engine
from common.models.engines.torch import TorchEngine
from common.models.fingerprint import Fingerprints
from common.models.model import open_model
from common.models.spec import EngineOptions, ModelSpec, OpenClipTower
from tests.kinds import make_model

SPEC = ModelSpec("kind", "kind", "", OpenClipTower(), OpenClipTower())
WEIGHTS = "open_clip_model.safetensors"
CONFIG = "open_clip_config.json"
Change = Callable[[Path], None]


def options(folder: Path, threads: int = 1, reference: bool = False) -> EngineOptions:
    return EngineOptions(
        folder.parent,
        allow_download=False,
        num_threads=threads,
        reference_preprocessing=reference,
    )


def text_of(folder: Path, threads: int = 1) -> str:
    return torch_engine.load_text_encoder(SPEC, options(folder, threads)).info.fingerprint


def image_of(folder: Path, threads: int = 1, reference: bool = False) -> str:
    encoder = torch_engine.load_image_encoder(SPEC, options(folder, threads, reference))
    return encoder.info.fingerprint


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SigLIP with its tokenizer."""
    folder = tmp_path_factory.mktemp("weights") / "kind"
    folder.mkdir()
    make_model("siglip", folder)
    return folder


@pytest.fixture(scope="module")
def text(original: Path) -> str:
    return text_of(original)


@pytest.fixture(scope="module")
def image(original: Path) -> str:
    return image_of(original)


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    """The same model in another folder."""
    folder = tmp_path / "kind"
    shutil.copytree(original, folder)
    config = (folder / CONFIG).read_text().replace(str(original), str(folder))
    (folder / CONFIG).write_text(config)
    return folder


def flip_bit(tensor: str) -> Change:
    """Flip the lowest bit of a tensor's first number."""

    def change(folder: Path) -> None:
        with safe_open(folder / WEIGHTS, "np") as file:
            first = file.get_tensor(tensor).tobytes()[:64]
        content = bytearray((folder / WEIGHTS).read_bytes())
        content[content.index(first)] ^= 1
        (folder / WEIGHTS).write_bytes(content)

    return change


def settings(part: str, section: str, **values: object) -> Change:
    """Change settings of the model's configuration."""

    def change(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        place = config[part][section] if section else config[part]
        place |= values
        (folder / CONFIG).write_text(json.dumps(config))

    return change


def swap_words(folder: Path) -> None:
    """Give two tokens each other's id."""
    path = folder / "text" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    pieces = tokenizer["model"]["vocab"]
    pieces[20][0], pieces[21][0] = pieces[21][0], pieces[20][0]
    path.write_text(json.dumps(tokenizer))


def as_pickle(folder: Path) -> None:
    """Keep the same tensors in torch's own file format."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / WEIGHTS), folder / "open_clip_pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def reorder(folder: Path) -> None:
    """Write the configuration's settings in another order."""
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(dict(reversed(config.items())), indent=3))


@pytest.mark.parametrize(
    "change",
    [
        flip_bit("text.token_embedding.weight"),
        flip_bit("text.text_projection.weight"),
        swap_words,
        settings("model_cfg", "text_cfg", tokenizer_kwargs={"clean": "lower"}),
        settings("model_cfg", "text_cfg", heads=4),
        settings("model_cfg", "text_cfg", pool_type="first"),
        settings("model_cfg", "text_cfg", act_kwargs={"approximate": "none"}),
    ],
)
def test_each_ingredient_of_a_text_on_disk_changes_the_text_fingerprint(
    copy: Path, text: str, image: str, change: Change
) -> None:
    change(copy)
    assert text_of(copy) != text
    assert image_of(copy) == image


@pytest.mark.parametrize(
    "change",
    [
        flip_bit("visual.trunk.patch_embed.proj.weight"),
        settings("preprocess_cfg", "", mean=[0.5, 0.5, 0.50000006]),
        settings("preprocess_cfg", "", std=[0.5, 0.5, 0.50000006]),
        settings("preprocess_cfg", "", resize_mode="shortest"),
        settings("preprocess_cfg", "", interpolation="bilinear"),
    ],
)
def test_each_ingredient_of_an_image_on_disk_changes_the_image_fingerprint(
    copy: Path, text: str, image: str, change: Change
) -> None:
    change(copy)
    assert image_of(copy) != image
    assert text_of(copy) == text


def test_the_way_of_preprocessing_changes_the_image_fingerprint(original: Path, image: str) -> None:
    assert image_of(original, reference=True) != image


@pytest.mark.parametrize("change", [as_pickle, reorder, lambda _: None])
def test_file_format_place_and_threads_do_not_count(
    copy: Path, text: str, image: str, change: Change
) -> None:
    change(copy)
    assert (text_of(copy, threads=2), image_of(copy, threads=2)) == (text, image)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("tokenizer.json", "text"), ("tokenizer_config.json", "text"), (CONFIG, ""), (WEIGHTS, "")],
)
def test_a_wrong_line_for_any_file_that_is_read_is_refused(
    copy: Path, text: str, name: str, folder: str
) -> None:
    place = copy / folder
    right = f"# made by sha256sum\n\n{sha256_of(place / name)}  {name}\n{'1' * 64}  an other file\n"
    (place / "SHA256SUMS").write_text(right)
    assert text_of(copy) == text
    (place / "SHA256SUMS").write_text(f"{'0' * 64} *{name}\n")
    with pytest.raises(ModelUnavailable, match=f"{name} has sha256 .*, expected 0000"):
        text_of(copy)


def test_with_one_tower_loaded_the_other_side_is_read_for_the_fingerprint_alone(
    original: Path, text: str, image: str
) -> None:
    model = open_model(SPEC, options(original), [TorchEngine()], BatchLimits(8, 100))
    model.text.wait(60)
    assert model.fingerprint is None
    assert model.find_fingerprint(60) == Fingerprints.of_sides(text, image).pair
    assert model.image.encoder is None
    model.close()
