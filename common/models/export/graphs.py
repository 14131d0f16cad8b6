"""From a loaded reference tower to a float32 ONNX file."""

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from common.models.export.towers import PlainImage, PlainMultilingual, PlainText, Unsupported
from common.models.spec import Preprocessing
from common.models.torch_engine.multilingual_text import MultilingualText
from common.models.torch_engine.open_clip_towers import OpenClipImage, OpenClipText, pooled

OPSET = 20
MAX_BATCH = 4096
EXTERNAL_DATA_BYTES = 1 << 30  # beyond, weights go into a file of their own: a protobuf holds no more than 2 GiB

log = logging.getLogger(__name__)


class WholeImage(nn.Module):
    """Any image tower, as it is, behind raw pixels."""

    def __init__(self, module: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.module = module
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
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


def plain_image(encoder: OpenClipImage) -> nn.Module:
    """The tower to export."""
    module: Any = encoder.module
    try:
        return PlainImage(module, encoder.preprocessing)
    except Unsupported as reason:
        log.warning("the image tower is exported as open_clip has it", extra={"reason": str(reason)})
        return WholeImage(module, encoder.preprocessing)


def plain_text(encoder: OpenClipText | MultilingualText) -> tuple[nn.Module, int | None]:
    """The tower to export, and the length that texts must be padded to; None: any."""
    module: Any = encoder.module
    if isinstance(encoder, MultilingualText):
        return PlainMultilingual(module), None
    try:
        return PlainText(module), None
    except Unsupported as reason:
        log.warning("the text tower is exported as open_clip has it", extra={"reason": str(reason)})
        return WholeText(module), encoder.context_length


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
