"""Measures the encoders in this process, and the matrix products that they consist of."""

import time
from collections.abc import Callable, Sequence
from functools import partial
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
from tests.benchmarks.checkpoints import BUNDLES, captions
from tests.benchmarks.eager import load_reference

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
    """Ours in each precision, and the baseline's eager torch."""

    def __init__(self, model: str, checkpoint: Path) -> None:
        spec = resolve(model)
        bundle = read_bundle(spec.folder_in(BUNDLES), spec)
        threads = usable_cores()
        self.text: dict[str, Any] = {}
        self.image: dict[str, Any] = {}
        for precision in bundle.manifest.text.files:
            options = EngineOptions(BUNDLES, num_threads=threads, precision=precision)
            self.text[precision] = onnx_engine.load_text_encoder(bundle, options)
            self.image[precision] = onnx_engine.load_image_encoder(bundle, options)
        self.size = next(iter(self.image.values())).preprocessing.size
        self.reference = load_reference(checkpoint)

    def text_calls(self, batch: int, tokens: int) -> dict[str, Call]:
        """By name, a call that encodes `batch` texts of about `tokens` tokens; each tokenizes."""
        texts = captions(batch, tokens - 2)
        calls: dict[str, Call] = {
            name: partial(_encode_texts, encoder, texts) for name, encoder in self.text.items()
        }
        return calls | {"baseline": partial(self.reference.encode_texts, texts)}

    def image_calls(self, batch: int) -> dict[str, Call]:
        """By name, a call that encodes `batch` images."""
        import torch

        random = np.random.default_rng(batch)
        pixels = list(random.integers(0, 256, (batch, self.size, self.size, 3)).astype(np.uint8))
        calls: dict[str, Call] = {
            name: partial(encoder.encode, pixels) for name, encoder in self.image.items()
        }
        images = list(torch.rand(batch, 3, self.size, self.size))
        return calls | {"baseline": partial(self.reference.encode_images, images)}


def _encode_texts(encoder: Any, texts: Sequence[str]) -> object:
    return encoder.encode([tokens.ids for tokens in encoder.tokenize(texts)])
