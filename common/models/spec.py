"""Describe a model and what an engine must provide.

This module imports nothing heavy, so every other module may depend on it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

TowerName = Literal["text", "image"]
# How a text is cleaned before it is tokenized; the names are open_clip's.
Cleaning = Literal["whitespace", "lower", "canonicalize"]
Vectors = NDArray[np.float32]  # (count, dimensions); the L2 norm of each row is 1
TokenIds = NDArray[np.int64]  # (length,), with start and end tokens, without padding
Pixels = NDArray[np.uint8]  # (size, size, 3), RGB


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the image tower's input.

    By default, EXIF orientation is honoured, alpha is composited on white, 16-bit samples are
    scaled, and palettes are expanded before resizing. With `reference` the result equals
    open_clip's bit by bit.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize_mode: Literal["shortest", "squash", "longest"] = "shortest"
    fill_color: int = 0  # the colour of the border that resize_mode "longest" adds
    reference: bool = False

    def as_dict(self) -> dict[str, object]:
        """The fields as plain values, for fingerprints and the banner."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class TowerSource:
    """Where a tower's weights come from, and which `family` reads them (torch_engine/families.py).

    The weights are in `folder`, which ships with the function, or else in the hub repository
    `hub_repo`, at `hub_revision` if it is given. If `weights_sha256` is given, other weights are
    refused.
    """

    family: ClassVar[str] = ""
    hub_repo: str = ""
    folder: Path | None = None
    weights_sha256: str = ""
    hub_revision: str = ""


@dataclass(frozen=True)
class OpenClipTower(TowerSource):
    """A tower of an open_clip model.

    A `folder` must contain `open_clip_config.json` too. With `pretrained`, the weights are those
    that open_clip lists under this name for the `architecture`.
    """

    family: ClassVar[str] = "open_clip"
    architecture: str = ""
    pretrained: str = ""


@dataclass(frozen=True)
class MultilingualTower(TowerSource):
    """A text tower in M-CLIP's format: XLM-RoBERTa, a masked mean over all tokens, a linear map.

    `sentencepiece.bpe.model` is in the same folder or repository as the weights.
    """

    family: ClassVar[str] = "mclip"


@dataclass(frozen=True)
class ModelSpec:
    """A model that gives vectors, with its two towers.

    `dimensions` is None if only open_clip knows it. `figures` are published results in percent:
    ImageNet zero-shot top 1, then COCO text → image R@1.
    """

    id: str
    full_name: str
    description: str
    text: TowerSource
    image: TowerSource
    dimensions: int | None = None
    bundle: Path | None = None  # the folder of the bundle that ships with the function
    languages: str = ""
    licence: str = ""  # the licence of the weights
    figures: tuple[float, float] | None = None

    def folder_in(self, weights_dir: Path) -> Path:
        """The model's own folder in `weights_dir`; slashes in its id become hyphens."""
        return weights_dir / self.id.replace("/", "-")


@dataclass(frozen=True)
class EngineOptions:
    """The settings that an engine needs."""

    weights_dir: Path
    weights_uri: str = ""  # a bundle in a bucket; if it is set, weights_dir is not searched
    allow_download: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "int8", "fp32", "fp16", "bf16"] = "auto"
    num_threads: int = 1
    reference_preprocessing: bool = False
    hub_cache: Path | None = None  # None means the hub library's default


@dataclass(frozen=True)
class EncoderInfo:
    """What is known about a tower once it is loaded.

    - `weights_sha256` is the sum of the file that the weights were read from.
    - `tower_sha256` covers the tensors and the settings that shape the tower.
    - `fingerprint` is that of the tower's side (fingerprint.py).
    - `logit_scale` (already exponentiated) and `logit_bias` belong to the pair of towers. They are
      None if the weights file does not have them. Models trained with a sigmoid loss have a bias:
      the probability of a pair is sigmoid(logit_scale × cosine + logit_bias).
    - `pads_texts` says that a text costs as much as the longest, because the tower sees padding.
    - `max_batch_size` is the largest number of items worth encoding in one forward pass. None means
      that there is no limit.
    """

    dimensions: int
    weights_sha256: str
    engine: str
    device: str
    precision: str
    logit_scale: float | None = None
    random_weights: bool = False  # true for a bundle made for benchmarks
    max_batch_size: int | None = None
    logit_bias: float | None = None
    tower_sha256: str = ""
    fingerprint: str = ""
    pads_texts: bool = False


@dataclass(frozen=True)
class Tokens:
    """One tokenized text; `truncated` says that the text was longer than the model's context."""

    ids: TokenIds
    truncated: bool


Item = TypeVar("Item", contravariant=True)


class Encoder(Protocol[Item]):
    """A loaded tower. Only one thread at a time calls `encode`."""

    info: EncoderInfo

    def encode(self, items: Sequence[Item]) -> Vectors:
        """The vectors of one batch of at least one item, in the order of the items."""
        ...


class TextEncoder(Encoder[TokenIds], Protocol):
    """A loaded text tower. Texts of a batch may differ in length.

    Any thread may call `tokenize`.
    """

    context_length: int

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """The token ids of each text, cut at `context_length`."""
        ...


class ImageEncoder(Encoder[Pixels], Protocol):
    """A loaded image tower; its items are preprocessed images."""

    preprocessing: Preprocessing
