"""Run the towers of a bundle with ONNX Runtime, without torch.

No other module of the service imports onnxruntime.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime as ort

from common.errors import ModelUnavailable
from common.models.bundle import TOKENIZERS, Bundle
from common.models.bundle_fingerprint import fingerprint_of
from common.models.spec import (
    EncoderInfo,
    EngineOptions,
    ImageEncoder,
    Pixels,
    TextEncoder,
    TokenIds,
    Tokens,
    TowerName,
    Vectors,
)
from common.models.tokenizer import ClipTokenizer, JsonTokenizer, TextTokenizer, XlmrTokenizer

# Threads spin through the pause between two operators, but not through the pause between two
# batches: requests need the cores too.
SPIN_US = "20"
# All sessions take the memory of activations from one arena. Arenas never shrink, and towers seldom
# need their largest batches at the same moment. -1 is the runtime's default.
ort.create_and_register_allocator(
    ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT),
    ort.OrtArenaCfg(
        {
            "max_mem": 0,
            "arena_extend_strategy": 0,
            "initial_chunk_size_bytes": -1,
            "max_dead_bytes_per_chunk": -1,
        }
    ),
)
MAX_IMAGES = 8  # per forward pass: the activations of more images do not fit into the CPU caches


@contextmanager
def _loading(bundle: Bundle, tower: TowerName) -> Iterator[None]:
    """Turn other libraries' errors into ModelUnavailable.

    Their messages may contain paths, so they appear only in the log.
    """
    try:
        yield
    except ModelUnavailable:
        raise
    except Exception as error:
        message = (
            f"model {bundle.manifest.model}: the {tower} tower of its bundle could not be loaded"
        )
        raise ModelUnavailable(f"{message} ({type(error).__name__})") from error


def load_text_encoder(bundle: Bundle, options: EngineOptions) -> TextEncoder:
    """Verify and load the text tower, and run it once. Raises ModelUnavailable."""
    with _loading(bundle, "text"):
        encoder = OnnxText(bundle, options)
        encoder.encode([tokens.ids for tokens in encoder.tokenize(["warm up"])])
    return encoder


def load_image_encoder(bundle: Bundle, options: EngineOptions) -> ImageEncoder:
    """Verify and load the image tower. Raises ModelUnavailable.

    It does not run: an image takes as long as half of the load. Where nobody waits, the tower
    tries it.
    """
    with _loading(bundle, "image"):
        return OnnxImage(bundle, options)


def _start(
    path: Path, session_options: ort.SessionOptions, checked: "Future[str]"
) -> ort.InferenceSession:
    """Start a session. A file with a wrong sum is the error, not what the runtime says about it."""
    try:
        return ort.InferenceSession(str(path), session_options, providers=["CPUExecutionProvider"])
    except Exception:
        checked.result()
        raise


class _Session:
    """The ONNX graph of one tower: one input, and unit vectors as its output."""

    def __init__(self, bundle: Bundle, tower: TowerName, options: EngineOptions) -> None:
        manifest = bundle.manifest
        precision = bundle.choose(tower, options.precision)
        described = manifest.text if tower == "text" else manifest.image
        name = described.files[precision]
        session_options = ort.SessionOptions()
        session_options.intra_op_num_threads = options.num_threads
        session_options.inter_op_num_threads = 1
        session_options.log_severity_level = 3  # only errors: its warnings are about optimisations
        # The export has already optimised the graph.
        session_options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        # A pattern is a block for all activations of one shape of batch. Batches have many shapes.
        session_options.enable_mem_pattern = False
        session_options.add_session_config_entry("session.use_env_allocators", "1")
        session_options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_US)
        path = bundle.fetch(name)
        try:
            # The sums of the weights take as long as half of the session's start.
            with ThreadPoolExecutor(1) as pool:
                checked = pool.submit(bundle.check, name)
                self._session = _start(path, session_options, checked)
            sha256 = checked.result()
        finally:
            bundle.release(name)
        self._input = self._session.get_inputs()[0].name
        self._model = manifest.model
        self._is_checked = False
        self.info = EncoderInfo(
            manifest.dimensions, sha256, "onnx", "cpu", precision,
            logit_scale=manifest.logit_scale,
            random_weights=manifest.random_weights,
            logit_bias=manifest.logit_bias,
            tower_sha256=described.tower_sha256,
            fingerprint=fingerprint_of(tower, bundle, options),
            max_batch_size=MAX_IMAGES if tower == "image" else None,
            pads_texts=tower == "text" and manifest.text.length is not None,
        )  # fmt: skip

    def run(self, batch: Pixels | TokenIds) -> Vectors:
        """(n, …) → (n, dimensions) float32 of unit norm.

        Raises ModelUnavailable if the first batch does not give unit vectors.
        """
        vectors: Vectors = self._session.run(None, {self._input: batch})[0]
        if not self._is_checked:
            self._check(vectors)
            self._is_checked = True
        return vectors

    def _check(self, vectors: Vectors) -> None:
        dimensions = self.info.dimensions
        if vectors.shape[1] != dimensions or not np.allclose(
            np.linalg.norm(vectors, axis=1), 1, atol=1e-3
        ):
            raise ModelUnavailable(
                f"model {self._model}: the vectors of its bundle are not unit vectors "
                f"of {dimensions} dimensions; export the bundle again"
            )


def _load_tokenizer(bundle: Bundle) -> TextTokenizer:
    text = bundle.manifest.text
    if text.tokenizer == "clip":
        return ClipTokenizer(text.context_length)
    name = TOKENIZERS[text.tokenizer]
    try:
        path, _ = bundle.verified(name)
        if text.tokenizer == "pieces":
            from common.models.piece_tokenizer import PieceTokenizer

            ends = text.end_id or 0, text.pad_id
            return PieceTokenizer.read(path, text.context_length, text.cleaning, ends)
        if text.tokenizer != "json":
            cleaning = text.cleaning if text.tokenizer == "xlmr_cleaned" else None
            return XlmrTokenizer(path, text.context_length, cleaning)
        return JsonTokenizer.read(path, text.context_length, text.cleaning, text.erased_id)
    finally:
        bundle.release(name)


class OnnxText:
    """A text tower of a bundle.

    A batch is padded to its longest text, unless the manifest gives a fixed `length`.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        manifest = bundle.manifest.text
        self._pad_id = manifest.pad_id
        self._length = manifest.length
        with ThreadPoolExecutor(1) as pool:  # tokenizer and graph load in parallel: a cold start
            tokenizer = pool.submit(_load_tokenizer, bundle)
            self._session = _Session(bundle, "text", options)
        self._tokenizer = tokenizer.result()
        self.info = self._session.info
        self.context_length = manifest.context_length

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """The token ids of each text, cut at the context length."""
        return self._tokenizer(texts)

    def encode(self, items: Sequence[TokenIds]) -> Vectors:
        """Token ids of n texts → (n, dimensions) float32 of unit norm."""
        batch = np.full((len(items), self._length or max(map(len, items))), self._pad_id, np.int64)
        for row, ids in zip(batch, items, strict=True):
            row[: len(ids)] = ids
        return self._session.run(batch)


class OnnxImage:
    """An image tower of a bundle; the normalisation of pixels is part of its graph."""

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        self.preprocessing = bundle.manifest.image.to_preprocessing(options.reference_preprocessing)
        self._session = _Session(bundle, "image", options)
        self.info = self._session.info

    def encode(self, items: Sequence[Pixels]) -> Vectors:
        """The pixels of n images → (n, dimensions) float32 of unit norm."""
        return self._session.run(np.stack(items))
