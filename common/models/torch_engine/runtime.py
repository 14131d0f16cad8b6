"""Device, precision, threads and weights: what all tower families share."""

import ctypes
import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import ModelUnavailable
from common.models.fingerprint import (
    ImageIngredients,
    PrecisionClass,
    TextIngredients,
    image_fingerprint,
    text_fingerprint,
)
from common.models.spec import (
    EncoderInfo,
    EngineOptions,
    ModelSpec,
    Preprocessing,
    TowerName,
    Vectors,
)
from common.models.tokenizer import TextTokenizer

_HALF = {"fp16": torch.float16, "bf16": torch.bfloat16}


@contextmanager
def loading(spec: ModelSpec, tower: TowerName) -> Iterator[None]:
    """Turn any error of a load into ModelUnavailable.

    The messages of other errors may contain paths, so they appear only in the log.
    """
    try:
        yield
    except ModelUnavailable:
        raise
    except MemoryError as error:
        raise ModelUnavailable(
            f"model {spec.id}: not enough memory for the {tower} tower"
        ) from error
    except Exception as error:
        message = f"model {spec.id}: the {tower} tower could not be loaded ({type(error).__name__})"
        raise ModelUnavailable(message) from error


def declare_torchvision_operators() -> None:
    """Make torchvision importable if its compiled operators do not fit this torch.

    Its default wheel is built for the CUDA torch. With a CPU torch, the import fails because the
    schemas of two operators are missing. Nothing here calls them, so declaring them is enough.
    open_clip and transformers import torchvision, so they must be imported after this module.
    """
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return
    try:
        for library in Path(package.origin).parent.glob("_C*.so"):
            ctypes.CDLL(str(library))
    except OSError:
        for name in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{name}",
                "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            )


declare_torchvision_operators()


@dataclass(frozen=True)
class Runtime:
    """Where a tower runs and in which precision."""

    device: torch.device
    precision: str

    @classmethod
    def choose(cls, options: EngineOptions) -> "Runtime":
        """Choose the device and the precision by the options, and set torch's threads.

        Raises ModelUnavailable if the device or the precision is not available.
        """
        torch.set_num_threads(options.num_threads)
        has_cuda = torch.cuda.is_available()
        device = ("cuda" if has_cuda else "cpu") if options.device == "auto" else options.device
        if device == "cuda" and not has_cuda:
            raise ModelUnavailable("CLIP_DEVICE=cuda, but no CUDA device is visible to torch")
        if options.precision == "int8":
            raise ModelUnavailable(
                "the torch engine has no int8; export a bundle (`make export`) "
                "or set CLIP_PRECISION=fp32"
            )
        if device == "cpu":
            if options.precision in _HALF:
                raise ModelUnavailable(
                    f"CLIP_PRECISION={options.precision} needs a GPU; set CLIP_PRECISION=fp32 "
                    "on a CPU"
                )
            return cls(torch.device("cpu"), "fp32")
        return cls(
            torch.device("cuda"), "fp16" if options.precision == "auto" else options.precision
        )

    def run(self, forward: Callable[[Tensor], Tensor], batch: Tensor) -> Vectors:
        """Run `forward` on a CPU batch; return L2-normalised rows, (n, dimensions) float32."""
        half = _HALF.get(self.precision)
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, half, enabled=half is not None),
        ):
            if self.device.type == "cuda":
                batch = batch.pin_memory().to(self.device, non_blocking=True)
            rows = nn.functional.normalize(forward(batch).float(), dim=-1)
        vectors: Vectors = rows.cpu().numpy()
        return vectors


def read_tensors(path: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    """Map the `wanted` tensors of a checkpoint into memory; convert half precision to float32."""
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            names = [name for name in file.keys() if wanted(name)]  # noqa: SIM118 - not a mapping
            tensors = {name: file.get_tensor(name) for name in names}
    else:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        loaded = loaded.get("state_dict", loaded)
        tensors = {name.removeprefix("module."): tensor for name, tensor in loaded.items()}
        tensors = {name: tensor for name, tensor in tensors.items() if wanted(name)}
    return {
        name: tensor.float() if tensor.dtype in _HALF.values() else tensor
        for name, tensor in tensors.items()
    }


def refill_position_ids(transformer: nn.Module) -> None:
    """Create the buffers of a BERT-like encoder that checkpoints lack, after a build on meta."""
    embeddings: Any = getattr(transformer, "embeddings", None)
    if embeddings is None or getattr(embeddings, "position_ids", None) is None:
        return
    positions = torch.arange(embeddings.position_ids.shape[-1]).unsqueeze(0)
    embeddings.register_buffer("position_ids", positions, persistent=False)
    embeddings.register_buffer("token_type_ids", torch.zeros_like(positions), persistent=False)


def tensors_sha256(module: nn.Module) -> str:
    """The sha256 over a loaded module's tensors by name, for any format of the weights file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.cpu().contiguous().numpy())
    return digest.hexdigest()


def text_info(info: EncoderInfo, tokenizer: TextTokenizer) -> EncoderInfo:
    """Return a copy of `info` with the fingerprint of the text side."""
    described = tokenizer.describe()
    ingredients = TextIngredients(
        weights_sha256=info.tower_sha256,
        tokenizer=described["tokenizer"],
        vocabulary_sha256=tokenizer.vocabulary_sha256(),
        context_length=tokenizer.context_length,
        cleaning=described.get("cleaning"),
        erased_id=described.get("erased_id"),
        precision=cast("PrecisionClass", info.precision),
        dimensions=info.dimensions,
    )
    return replace(info, fingerprint=text_fingerprint(ingredients))


def image_info(info: EncoderInfo, preprocessing: Preprocessing) -> EncoderInfo:
    """Return a copy of `info` with the fingerprint of the image side."""
    precision = cast("PrecisionClass", info.precision)
    ingredients = ImageIngredients(
        info.tower_sha256, preprocessing.as_dict(), precision, info.dimensions
    )
    return replace(info, fingerprint=image_fingerprint(ingredients))


def ready(module: nn.Module, runtime: Runtime) -> nn.Module:
    """Freeze a module, switch it to evaluation mode and move it to the device."""
    return module.eval().requires_grad_(False).to(runtime.device)


def check_warm_up(vectors: Vectors, dimensions: int, spec: ModelSpec) -> None:
    """Check that a first forward pass gave unit vectors. Raises ModelUnavailable."""
    norms = np.linalg.norm(vectors, axis=1)
    if vectors.shape[1] != dimensions or not np.allclose(norms, 1, atol=1e-3):
        raise ModelUnavailable(
            f"model {spec.id}: its vectors are not unit vectors of {dimensions} dimensions"
        )
