"""A new tower family needs one module and one line, and can be exported."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from common.errors import ModelUnavailable
from common.models import onnx_engine, torch_engine
from common.models.catalog import resolve
from common.models.spec import (
    EncoderInfo,
    EngineOptions,
    ModelSpec,
    TokenIds,
    Tokens,
    TowerSource,
    Vectors,
)
from common.models.tokenizer import ClipTokenizer
from common.models.torch_engine import families
from tests.exports import export_with

DEMO = resolve("demo")


@dataclass(frozen=True)
class BagTower(TowerSource):
    """A text tower that adds up one random vector a token."""

    family: ClassVar[str] = "bag"
    seed: int = 0


class Bag(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.words = nn.Embedding(49408, 256)

    def forward(self, ids: Tensor) -> Tensor:
        rows: Tensor = self.words(ids)
        return rows.sum(1)


class BagText:
    pad_id = 0

    def __init__(self, seed: int) -> None:
        self.module, self.tokenizer = Bag(seed).requires_grad_(False), ClipTokenizer()
        self.context_length = self.tokenizer.context_length
        self.info = EncoderInfo(256, "0" * 64, "torch", "cpu", "fp32")

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return self.tokenizer(texts)

    def encode(self, items: Sequence[TokenIds]) -> Vectors:
        batch = torch.zeros(len(items), self.context_length, dtype=torch.int64)
        for row, ids in zip(batch, items, strict=True):
            row[: len(ids)] = torch.from_numpy(ids)
        vectors: Vectors = nn.functional.normalize(self.module(batch), dim=-1).numpy()
        return vectors


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """A model whose text tower is of a family that this test adds."""
    module = ModuleType("bag_family")
    module.load_text = lambda spec, source, options: BagText(source.seed)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bag_family", module)
    monkeypatch.setitem(families.FAMILIES, "bag", "bag_family")
    return replace(DEMO, id="bag", text=BagTower(seed=5), bundle=None)


def test_a_new_family_is_loaded_exported_and_served(spec: ModelSpec, tmp_path: Path) -> None:
    options = EngineOptions(tmp_path, num_threads=2)
    reference = torch_engine.load_text_encoder(spec, options)
    served = onnx_engine.load_text_encoder(
        export_with(spec, tmp_path / "bundle", options, ["fp32"]), options
    )
    ids = [tokens.ids for tokens in served.tokenize(["a fox", "two words or more", ""])]
    np.testing.assert_allclose(served.encode(ids), reference.encode(ids), atol=1e-5)


def test_a_tower_that_its_family_has_not_is_refused(spec: ModelSpec, tmp_path: Path) -> None:
    options = EngineOptions(tmp_path)
    with pytest.raises(ModelUnavailable, match="model bag: no family 'bag' for image towers"):
        torch_engine.load_image_encoder(replace(spec, image=BagTower()), options)
    with pytest.raises(
        ModelUnavailable, match="no family '' for text towers; known: open_clip, mclip, bag"
    ):
        torch_engine.load_text_encoder(replace(spec, text=TowerSource()), options)
