"""What a model is, and what an engine must give. Imports nothing heavy: everyone may depend on it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

TowerName = Literal["text", "image"]
Cleaning = Literal[
    "whitespace", "lower", "canonicalize"
]  # of a text before it is tokenized, in open_clip's words
Vectors = NDArray[np.float32]  # (count, dimensions), each row of L2 norm 1
TokenIds = NDArray[np.int64]  # (length,), start and end tokens included, no padding
Pixels = NDArray[np.uint8]  # (size, size, 3), RGB


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the image tower's input.

    `reference` asks for open_clip's own behaviour to the bit; otherwise EXIF orientation is honoured, alpha is
    composited on white, 16-bit samples are scaled and palettes are expanded before resizing.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    resize_mode: Literal["shortest", "squash", "longest"] = "shortest"
    fill_color: int = 0  # of the border that resize_mode "longest" adds
    reference: bool = False

    def as_dict(self) -> dict[str, object]:
        """As plain values, for fingerprints and the banner."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class TowerSource:
    """Where a tower's weights come from. `family` names the family that reads them (torch_engine/families.py).

    They are in `folder`, which ships with the function, else in the hub repository `hub_repo`, at `hub_revision`
    if it is given. If `weights_sha256` is given, other weights are refused.
    """

    family: ClassVar[str] = ""
    hub_repo: str = ""
    folder: Path | None = None
    weights_sha256: str = ""
    hub_revision: str = ""


@dataclass(frozen=True)
class OpenClipTower(TowerSource):
    """A tower of an open_clip model.

    A `folder` holds its `open_clip_config.json` too. Without a folder or `hub_repo`, the weights are those that
    open_clip's own table lists as `pretrained` for the `architecture`.
    """

    family: ClassVar[str] = "open_clip"
    architecture: str = ""
    pretrained: str = ""


@dataclass(frozen=True)
class MultilingualTower(TowerSource):
    """A text tower in M-CLIP's format: an XLM-RoBERTa, the masked mean over all tokens, and a linear map.

    `sentencepiece.bpe.model` lies beside the weights.
    """

    family: ClassVar[str] = "mclip"


@dataclass(frozen=True)
class ModelSpec:
    """What a caller gets vectors from. `dimensions` is None while it is known to open_clip alone.

    `figures` are published results: ImageNet zero-shot top 1, then COCO text → image R@1, in percent.
    """

    id: str
    full_name: str
    description: str
    text: TowerSource
    image: TowerSource
    dimensions: int | None = None
    bundle: Path | None = None  # one that ships with the function
    languages: str = ""
    licence: str = ""  # of the weights
    figures: tuple[float, float] | None = None

    def folder_in(self, weights_dir: Path) -> Path:
        """The model's own folder in `weights_dir`; slashes in its name become hyphens."""
        return weights_dir / self.id.replace("/", "-")


@dataclass(frozen=True)
class EngineOptions:
    """What an engine needs of the settings."""

    weights_dir: Path
    weights_uri: str = ""  # a bundle in a bucket, in place of what weights_dir holds
    allow_download: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "int8", "fp32", "fp16", "bf16"] = "auto"
    num_threads: int = 1
    reference_preprocessing: bool = False
    hub_cache: Path | None = None  # None: the hub library's own choice


@dataclass(frozen=True)
class EncoderInfo:
    """What is known of a tower once it is loaded.

    `weights_sha256` is that of the file the weights were read from. `logit_scale` (already exponentiated) belongs to
    the pair of towers, and is None if the file does not hold it. So does `logit_bias`: models trained with a sigmoid
    loss have one, and their probability of a pair is sigmoid(logit_scale × cosine + logit_bias). More than
    `max_batch_size` items in one forward pass are no faster; None: as many as one likes. `tower_sha256` is over the
    tensors and the settings that shape the tower; `fingerprint` is of its side (fingerprint.py).
    """

    dimensions: int
    weights_sha256: str
    engine: str
    device: str
    precision: str
    logit_scale: float | None = None
    random_weights: bool = False  # of a bundle made for benchmarks
    max_batch_size: int | None = None
    logit_bias: float | None = None
    tower_sha256: str = ""
    fingerprint: str = ""


@dataclass(frozen=True)
class Tokens:
    """One tokenized text. `truncated` tells that the text was longer than the model's context."""

    ids: TokenIds
    truncated: bool


Item = TypeVar("Item", contravariant=True)


class Encoder(Protocol[Item]):
    """A loaded tower. `encode` is called from one thread at a time."""

    info: EncoderInfo

    def encode(self, items: Sequence[Item]) -> Vectors:
        """Vectors of one batch of at least one item, in order."""
        ...


class TextEncoder(Encoder[TokenIds], Protocol):
    """A loaded text tower; the texts of a batch may differ in length. `tokenize` may be called from any thread."""

    context_length: int

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, cut at `context_length`."""
        ...


class ImageEncoder(Encoder[Pixels], Protocol):
    """A loaded image tower: its items are preprocessed pictures."""

    preprocessing: Preprocessing
