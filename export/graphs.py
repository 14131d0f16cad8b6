"""From a loaded reference tower to a float32 ONNX file."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from common.models.spec import Preprocessing
from common.models.torch_engine.families import TorchImage, TorchText
from common.models.torch_engine.open_clip_towers import pooled
from export.timm_towers import PlainTimmImage
from export.towers import (
    PlainBert,
    PlainImage,
    PlainText,
    Unsupported,
    plain_hf_text,
    plain_multilingual,
)

OPSET = 20
MAX_BATCH = 4096
EXTERNAL_DATA_BYTES = (
    1 << 30
)  # beyond, weights go into a file of their own: a protobuf holds no more than 2 GiB

# Each raises Unsupported for a module that it does not fit.
PLAIN_TEXTS: tuple[Callable[[Any], PlainText | PlainBert], ...] = (
    PlainText,
    plain_hf_text,
    plain_multilingual,
)
PLAIN_IMAGES: tuple[Callable[[Any, Preprocessing], nn.Module], ...] = (PlainImage, PlainTimmImage)

log = logging.getLogger(__name__)


class WholeImage(nn.Module):
    """Any image tower, as it is, behind raw pixels."""

    def __init__(self, module: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.module = module
        mean, std = (
            torch.tensor(values).view(1, 3, 1, 1)
            for values in (preprocessing.mean, preprocessing.std)
        )
        self.mean, self.std = nn.Buffer(mean), nn.Buffer(std)

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, size, size, 3) uint8 → (n, dimensions) of unit norm."""
        images = (pixels.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        return F.normalize(pooled(self.module(images)), dim=-1)


class WholeText(nn.Module):
    """Any text tower, as it is; its texts are padded to the context length."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, ids: Tensor) -> Tensor:
        """(n, context length) int64 → (n, dimensions) of unit norm."""
        return F.normalize(pooled(self.module(ids)), dim=-1)


def plain_image(encoder: TorchImage) -> nn.Module:
    """The tower to export: the first plain one that fits its module, else the module as it is."""
    reasons = []
    for plain in PLAIN_IMAGES:
        try:
            return plain(encoder.module, encoder.preprocessing)
        except Unsupported as reason:
            reasons.append(str(reason))
    log.warning(
        "no plain image tower fits; its module is exported as it is", extra={"reasons": reasons}
    )
    return WholeImage(encoder.module, encoder.preprocessing)


def plain_text(encoder: TorchText) -> tuple[nn.Module, int | None]:
    """The tower to export, as for images, and the length that texts must be padded to; None: any."""
    reasons = []
    for plain in PLAIN_TEXTS:
        try:
            module = plain(encoder.module)
        except Unsupported as reason:
            reasons.append(str(reason))
        else:
            return module, None if module.cuts else encoder.context_length
    log.warning(
        "no plain text tower fits; its module is exported as it is", extra={"reasons": reasons}
    )
    return WholeText(encoder.module), encoder.context_length


def write_image(module: nn.Module, size: int, path: Path) -> None:
    """A graph of `pixels` (n, size, size, 3) uint8 → `vectors`."""
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    _write(module, "pixels", example, {0: torch.export.Dim("n", min=1, max=MAX_BATCH)}, path)


def write_text(module: nn.Module, context_length: int, length: int | None, path: Path) -> None:
    """A graph of `ids` (n, length) int64 → `vectors`."""
    example = torch.full((2, length or min(9, context_length)), 5, dtype=torch.int64)
    dims = {0: torch.export.Dim("n", min=1, max=MAX_BATCH)}
    if length is None:
        dims[1] = torch.export.Dim("length", min=2, max=context_length)
    _write(module, "ids", example, dims, path)


def _write(module: nn.Module, name: str, example: Tensor, dims: dict[int, Any], path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter, about its own insides
        program = torch.export.export(module.eval(), (example,), dynamic_shapes=(dims,))
        onnx_program = torch.onnx.export(
            program, dynamo=True, external_data=False, opset_version=OPSET, input_names=[name],
            output_names=["vectors"], verbose=False,
        )  # fmt: skip
    if onnx_program is None:
        raise Unsupported(type(module).__name__)
    size = sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
    onnx_program.save(path, external_data=size > EXTERNAL_DATA_BYTES)
