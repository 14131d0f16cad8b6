"""The towers of the served model: each loaded once, on first use, by a thread of its own, and run by one thread.

A load that fails is not for ever: the first request after a pause tries again.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Generic, Literal, TypeVar

from common.batcher import BatchLimits, MicroBatcher
from common.config import Settings, get_hub_cache, get_settings, needs_torch
from common.errors import ModelLoading, ModelUnavailable
from common.memory import resident_bytes, return_freed_memory
from common.metrics import get_metrics
from common.models.bundle import Bundle, find_bundle
from common.models.catalog import resolve
from common.models.spec import (
    Encoder,
    EngineOptions,
    ImageEncoder,
    ModelSpec,
    Pixels,
    TextEncoder,
    TokenIds,
    TowerName,
    Vectors,
)

EncoderT = TypeVar("EncoderT", bound=Encoder[Any])
ItemT = TypeVar("ItemT")
State = Literal["absent", "loading", "ready", "failed"]

RETRY_PAUSE_S = 5.0  # between two tries to load a tower: a request storm must not become a download storm
IMAGE_PLACES = 16  # an image waits in the place of so many texts, for its pixels take 150 KB
IMAGE_BURST_S = 1.0  # downloads come in bunches, and take about as long as that themselves
TYPICAL_TOKENS = 32  # a text batch is cut where its padded tokens pass max_batch_size × this: none runs for long

log = logging.getLogger(__name__)


class Tower(Generic[EncoderT, ItemT]):
    """One lazily loaded encoder and the queue in front of it. Threads start with the first use, never before."""

    def __init__(
        self,
        name: TowerName,
        load: Callable[[], EncoderT],
        limits: BatchLimits,
        length_of: Callable[[ItemT], int] = lambda _: 1,
        retry_pause_s: float = RETRY_PAUSE_S,
    ) -> None:
        self.name: TowerName = name
        self._load, self._retry_pause_s = load, retry_pause_s
        self._changed = threading.Condition()
        self._state: State = "absent"
        self._encoder: EncoderT | None = None
        self._failure = ""
        self._failed_at = 0.0
        self.batcher: MicroBatcher[ItemT] = MicroBatcher(name, self._encode, limits, length_of)

    @property
    def encoder(self) -> EncoderT | None:
        """The encoder if it is loaded."""
        return self._encoder

    @property
    def failure(self) -> str:
        """Why the last load failed; empty while none has."""
        return self._failure if self._state == "failed" else ""

    def start_loading(self) -> None:
        """Start the load unless it runs, is done, or failed a moment ago."""
        with self._changed:
            paused = self._state == "failed" and time.monotonic() - self._failed_at < self._retry_pause_s
            if paused or self._state in ("loading", "ready"):
                return
            self._state = "loading"
        threading.Thread(target=self._run_load, name=f"load-{self.name}", daemon=True).start()

    def wait(self, timeout_s: float) -> EncoderT:
        """The encoder, loading it if need be. Raises ModelLoading after `timeout_s`, ModelUnavailable if it failed."""
        if encoder := self._encoder:  # the warm path takes no lock
            return encoder
        self.start_loading()
        with self._changed:
            self._changed.wait_for(lambda: self._state != "loading", timeout_s)
            if encoder := self.encoder:
                return encoder
            if self._state == "loading":
                raise ModelLoading(f"the {self.name} tower is still being loaded", retry_after_s=2)
            raise ModelUnavailable(self._failure, retry_after_s=self._retry_pause_s)

    def _encode(self, items: Sequence[ItemT]) -> Vectors:
        started = time.monotonic()
        vectors = self.wait(0).encode(items)  # items come from callers that have waited for the encoder
        get_metrics().note_batch(self.name, len(items), time.monotonic() - started)
        return vectors

    def _run_load(self) -> None:
        started, before = time.monotonic(), resident_bytes()
        try:
            encoder = self._load()
        except Exception as error:
            known = isinstance(error, ModelUnavailable)  # a foreign error's text may hold a path
            failure = str(error) if known else f"the {self.name} tower could not be loaded: {type(error).__name__}"
            log.exception("tower not loaded", extra={"tower": self.name})
            get_metrics().note_load(self.name, "failed", time.monotonic() - started)
            with self._changed:
                self._state, self._failure, self._failed_at = "failed", failure, time.monotonic()
                self._changed.notify_all()
            return
        if encoder.info.max_batch_size:
            self.batcher.cap(encoder.info.max_batch_size)
        with self._changed:
            self._state, self._encoder = "ready", encoder
            self._changed.notify_all()
        return_freed_memory()
        resident = resident_bytes()
        extra: dict[str, object] = {
            "tower": self.name,
            "engine": encoder.info.engine,
            "device": encoder.info.device,
            "seconds": round(time.monotonic() - started, 3),
            "memory_mb": resident >> 20,
            "grown_mb": (resident - before) >> 20,
        }
        log.info("tower loaded", extra=extra)
        get_metrics().note_load(self.name, "loaded", time.monotonic() - started)


class Model:
    """The served model: its spec and its two towers."""

    def __init__(self, spec: ModelSpec, text: Tower[TextEncoder, TokenIds], image: Tower[ImageEncoder, Pixels]) -> None:
        self.spec, self.text, self.image = spec, text, image

    @property
    def towers(self) -> tuple[Tower[TextEncoder, TokenIds], Tower[ImageEncoder, Pixels]]:
        """Both towers."""
        return self.text, self.image

    @property
    def dimensions(self) -> int | None:
        """Length of the vectors; None while only open_clip knows it."""
        for tower in self.towers:
            if tower.encoder is not None:
                return tower.encoder.info.dimensions
        return self.spec.dimensions

    @property
    def fingerprint(self) -> str | None:
        """16 hex digits over the weights of both towers and the preprocessing; None until both are loaded.

        Those of random weights begin with `random-`.
        """
        text, image = self.text.encoder, self.image.encoder
        if text is None or image is None:
            return None
        parts = [text.info.weights_sha256, image.info.weights_sha256, image.preprocessing.as_dict()]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
        return f"random-{digest}" if self.has_random_weights else digest

    @property
    def has_random_weights(self) -> bool:
        """Whether a tower is one of a bundle made for benchmarks."""
        return any(tower.encoder is not None and tower.encoder.info.random_weights for tower in self.towers)

    @property
    def logit_scale(self) -> float:
        """What a cosine is multiplied with before the softmax; CLIP's upper bound 100 where the weights hold none."""
        for tower in self.towers:
            if tower.encoder is not None and tower.encoder.info.logit_scale is not None:
                return tower.encoder.info.logit_scale
        return 100.0


def choose_bundle(spec: ModelSpec, options: EngineOptions, engine: str) -> Bundle | None:
    """The bundle to serve; None: the torch engine. Looked for at each load, so that one may come later.

    Raises ModelUnavailable where the engine must be onnx and there is no bundle, or the bundle is not right.
    """
    if needs_torch(engine, options.device, options.precision):
        return None
    if options.weights_uri:
        from common.models.remote_bundle import remote_bundle

        return remote_bundle(options.weights_uri, spec)
    bundle = find_bundle(spec, options)
    if bundle is None and engine == "onnx":
        message = "CLIP_ENGINE is onnx, but CLIP_WEIGHTS_DIR holds no bundle of it; `make export` writes one"
        raise ModelUnavailable(f"model {spec.id}: {message}")
    return bundle


def import_torch_engine(spec: ModelSpec) -> Any:
    """The engine's module. Raises ModelUnavailable where only what bundles need is installed."""
    try:
        from common.models import torch_engine
    except ModuleNotFoundError as error:
        message = f"it has no bundle here, and the torch engine lacks {error.name} (pip install -r requirements.txt)"
        raise ModelUnavailable(f"model {spec.id}: {message}") from error
    return torch_engine


def build_model(spec: ModelSpec, options: EngineOptions, settings: Settings) -> Model:
    """A model whose towers are loaded when first used."""

    def load_text() -> TextEncoder:
        if bundle := choose_bundle(spec, options, settings.engine):
            from common.models import onnx_engine

            return onnx_engine.load_text_encoder(bundle, options)
        encoder: TextEncoder = import_torch_engine(spec).load_text_encoder(spec, options)
        return encoder

    def load_image() -> ImageEncoder:
        if bundle := choose_bundle(spec, options, settings.engine):
            from common.models import onnx_engine

            return onnx_engine.load_image_encoder(bundle, options)
        encoder: ImageEncoder = import_torch_engine(spec).load_image_encoder(spec, options)
        return encoder

    limits = BatchLimits(
        max_batch_size=settings.max_batch_size,
        max_queue_items=settings.max_queue_items,
        max_batch_wait_s=settings.max_batch_wait_ms / 1000,
    )
    text_limits = replace(limits, max_batch_cost=settings.max_batch_size * TYPICAL_TOKENS)
    places = max(1, settings.max_queue_items // IMAGE_PLACES)
    image_limits = replace(limits, max_queue_items=places, burst_s=IMAGE_BURST_S)
    return Model(spec, Tower("text", load_text, text_limits, length_of=len), Tower("image", load_image, image_limits))


@cache
def get_model() -> Model:
    """The model of this process, from the settings. Loads nothing."""
    settings = get_settings()
    options = EngineOptions(
        weights_dir=settings.weights_dir,
        weights_uri=settings.weights_uri,
        allow_download=settings.allow_download,
        device=settings.device,
        precision=settings.precision,
        num_threads=settings.num_threads,
        reference_preprocessing=settings.preprocess == "reference",
        hub_cache=get_hub_cache(),
    )
    return build_model(resolve(settings.model), options, settings)


def preload(towers: tuple[TowerName, ...]) -> None:
    """Start loading these towers, without waiting."""
    for tower in get_model().towers:
        if tower.name in towers:
            tower.start_loading()
