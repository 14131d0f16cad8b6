"""Write a loaded reference tower as a float32 ONNX file."""

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
from export.bert_towers import PlainBert, plain_hf_text, plain_multilingual
from export.timm_towers import PlainTimmImage
from export.towers import (
    PlainImage,
    PlainText,
    Unsupported,
)

OPSET = 20
MAX_BATCH = 4096
# Larger weights go into a separate file, because a protobuf is limited to 2 GiB.
EXTERNAL_DATA_BYTES = 1 << 30

# Each of these raises Unsupported for a module that it does not fit.
PLAIN_TEXTS: tuple[Callable[[Any], PlainText | PlainBert], ...] = (
    PlainText,
    plain_hf_text,
    plain_multilingual,
)
PLAIN_IMAGES: tuple[Callable[[Any, Preprocessing], nn.Module], ...] = (PlainImage, PlainTimmImage)

log = logging.getLogger(__name__)


class WholeImage(nn.Module):
    """Any image tower as it is, with the normalisation of raw pixels in front."""

    def __init__(self, module: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.module = module
        mean, std = (
            torch.tensor(values).view(1, 3, 1, 1)
            for values in (preprocessing.mean, preprocessing.std)
        )
        self.mean = nn.Buffer(mean)
        self.std = nn.Buffer(std)

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, size, size, 3) uint8 → (n, dimensions) of unit norm."""
        images = (pixels.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        return F.normalize(pooled(self.module(images)), dim=-1)


class WholeText(nn.Module):
    """Any text tower as it is; its texts are padded to the context length."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, ids: Tensor) -> Tensor:
        """(n, context length) int64 → (n, dimensions) of unit norm."""
        return F.normalize(pooled(self.module(ids)), dim=-1)


def plain_image(encoder: TorchImage) -> nn.Module:
    """The image tower to export: the first plain tower that fits, else the module as it is."""
    reasons = []
    for plain in PLAIN_IMAGES:
        try:
            return plain(encoder.module, encoder.preprocessing)
        except Unsupported as reason:
            reasons.append(str(reason))
    log.warning(
        "no plain image tower fits; the module is exported as it is", extra={"reasons": reasons}
    )
    return WholeImage(encoder.module, encoder.preprocessing)


def plain_text(encoder: TorchText) -> tuple[nn.Module, int | None]:
    """The text tower to export, and the length in tokens that its texts must be padded to.

    The tower is the first plain one that fits, else the module as it is. The length is None if
    texts may have any length.
    """
    reasons = []
    for plain in PLAIN_TEXTS:
        try:
            module = plain(encoder.module)
        except Unsupported as reason:
            reasons.append(str(reason))
        else:
            return module, None if module.cuts else encoder.context_length
    log.warning(
        "no plain text tower fits; the module is exported as it is", extra={"reasons": reasons}
    )
    return WholeText(encoder.module), encoder.context_length


def write_image(module: nn.Module, size: int, path: Path) -> None:
    """Write a graph of `pixels` (n, size, size, 3) uint8 → `vectors` (n, dimensions) float32."""
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    _write(module, "pixels", example, {0: torch.export.Dim("n", min=1, max=MAX_BATCH)}, path)


def write_text(module: nn.Module, context_length: int, length: int | None, path: Path) -> None:
    """Write a graph of `ids` (n, length) int64 → `vectors` (n, dimensions) float32."""
    example = torch.full((2, length or min(9, context_length)), 5, dtype=torch.int64)
    dims = {0: torch.export.Dim("n", min=1, max=MAX_BATCH)}
    if length is None:
        dims[1] = torch.export.Dim("length", min=2, max=context_length)
    _write(module, "ids", example, dims, path)


def _write(module: nn.Module, name: str, example: Tensor, dims: dict[int, Any], path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns about its own internals
        program = torch.export.export(module.eval(), (example,), dynamic_shapes=(dims,))
        onnx_program = torch.onnx.export(
            program, dynamo=True, external_data=False, opset_version=OPSET, input_names=[name],
            output_names=["vectors"], verbose=False,
        )  # fmt: skip
    if onnx_program is None:
        raise Unsupported(type(module).__name__)
    size = sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
    onnx_program.save(path, external_data=size > EXTERNAL_DATA_BYTES)
