"""Measures the encoders in this process, and the matrix products that they consist of."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from common.machine import usable_cores
from common.models import onnx_engine
from common.models.bundle import read_bundle
from common.models.catalog import resolve
from common.models.spec import EngineOptions
from tests.reference import import_open_clip

GEMM = (1024, 1024, 1024)  # rows, inner, columns
Call = Callable[[], object]


def alternate(calls: dict[str, Call], rounds: int, seconds: float) -> dict[str, float]:
    """Seconds per call: the median of `rounds`, in which each call repeats for `seconds`."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            count, started = 0, time.perf_counter()
            while count < 1 or time.perf_counter() - started < seconds:
                call()
                count += 1
            times[name].append((time.perf_counter() - started) / count)
    return {name: float(np.median(values)) for name, values in times.items()}


def gemm(precision: str) -> Call:
    """One product of GEMM's size by ONNX Runtime, as the towers do it."""
    rows, inner, columns = GEMM
    random = np.random.default_rng(0)
    weights = random.integers(-63, 64, (inner, columns)).astype(
        np.int8 if precision == "int8" else np.float32
    )
    kind, given = ("MatMulInteger", np.uint8) if precision == "int8" else ("MatMul", np.float32)
    out = onnx.TensorProto.INT32 if precision == "int8" else onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(kind, ["a", "b"], ["c"])],
        "gemm",
        [
            helper.make_tensor_value_info(
                "a", helper.np_dtype_to_tensor_dtype(np.dtype(given)), [rows, inner]
            )
        ],
        [helper.make_tensor_value_info("c", out, [rows, columns])],
        [numpy_helper.from_array(weights, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    values = random.integers(0, 255, (rows, inner)).astype(given)
    return lambda: session.run(None, {"a": values})


class Encoders:
    """Ours in each precision, and the baseline's eager torch where there is one."""

    def __init__(
        self, model: str, weights: Path, architecture: str, checkpoint: Path | None
    ) -> None:
        spec = resolve(model)
        bundle = read_bundle(weights / model, spec)
        threads = usable_cores()
        self.text: dict[str, Any] = {}
        self.image: dict[str, Any] = {}
        for precision in bundle.manifest.text.files:
            options = EngineOptions(weights, num_threads=threads, precision=precision)
            self.text[precision] = onnx_engine.load_text_encoder(bundle, options)
            self.image[precision] = onnx_engine.load_image_encoder(bundle, options)
        self.size = next(iter(self.image.values())).preprocessing.size
        self.reference: Any = None
        if checkpoint:
            open_clip = import_open_clip()
            self.reference = open_clip.create_model(architecture, pretrained=str(checkpoint)).eval()

    def text_calls(self, batch: int, tokens: int) -> dict[str, Call]:
        """By name, a call that encodes `batch` texts of `tokens` tokens. The baseline pads."""
        random = np.random.default_rng(tokens)
        items = [
            np.array([49406, *random.integers(1000, 40000, tokens - 2), 49407])
            for _ in range(batch)
        ]
        calls: dict[str, Call] = {
            name: _bound(encoder, items) for name, encoder in self.text.items()
        }
        if self.reference is not None:
            import torch

            padded = torch.zeros(batch, 77, dtype=torch.int64)
            padded[:, :tokens] = torch.from_numpy(np.stack(items))
            calls["baseline"] = lambda: self._eager(self.reference.encode_text, padded)
        return calls

    def image_calls(self, batch: int) -> dict[str, Call]:
        """By name, a call that encodes `batch` images."""
        pixels = list(
            np.random.default_rng(batch)
            .integers(0, 256, (batch, self.size, self.size, 3))
            .astype(np.uint8)
        )
        calls: dict[str, Call] = {
            name: _bound(encoder, pixels) for name, encoder in self.image.items()
        }
        if self.reference is not None:
            import torch

            images = torch.rand(batch, 3, self.size, self.size)
            calls["baseline"] = lambda: self._eager(self.reference.encode_image, images)
        return calls

    def _eager(self, encode: Callable[..., Any], batch: Any) -> object:
        import torch

        with torch.inference_mode():
            return encode(batch, normalize=True)


def _bound(encoder: Any, items: Sequence[Any]) -> Call:
    return lambda: encoder.encode(items)
