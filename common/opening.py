"""Creates an embedder from plain values; see `open_embedder`."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from common.batcher import BatchLimits
from common.cache import TextCache
from common.cloud_storage import CloudStorage
from common.embedder import Embedder
from common.images.limits import DecodeLimits, FetchLimits
from common.images.url_policy import UrlPolicy
from common.machine import WEIGHTS_DIR, usable_cores
from common.models.catalog import resolve
from common.models.engines import AUTO, all_engines, engines_for
from common.models.engines.engine import Engine
from common.models.model import open_model
from common.models.spec import EngineOptions
from common.observer import UNOBSERVED, TowerObserver

# Importing these at run time would add 0.2 s to a cold start that only needs texts.
if TYPE_CHECKING:
    from common.images.pipeline import ImagePipeline
    from common.images.source import ImageSource

LOAD_TIMEOUT_S = 3600.0  # a script may have to download gigabytes first

BATCHES = BatchLimits()
FETCHING = FetchLimits()
DECODING = DecodeLimits()
PUBLIC_INTERNET = UrlPolicy()


def open_embedder(
    model: str = "clip",
    *,
    engine: str = AUTO,
    precision: Literal["auto", "int8", "fp32", "fp16", "bf16"] = "auto",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: int | None = None,
    weights_dir: Path = WEIGHTS_DIR,
    weights_uri: str = "",
    allow_download: bool = True,
    hub_cache: Path | None = None,
    preprocess: Literal["corrected", "reference"] = "corrected",
    batches: BatchLimits = BATCHES,
    fetching: FetchLimits = FETCHING,
    decoding: DecodeLimits = DECODING,
    policy: UrlPolicy = PUBLIC_INTERNET,
    cache_bytes: int | None = None,
    load_timeout_s: float = LOAD_TIMEOUT_S,
    engines: Sequence[Engine] = (),
    sources: "Sequence[ImageSource]" = (),
    observer: TowerObserver = UNOBSERVED,
) -> Embedder:
    """Create an embedder of `model`: a name of the catalog, or ARCHITECTURE/PRETRAINED.

    This loads no weights and starts no thread. Each encoder loads with the first item that needs
    it, and a call waits up to `load_timeout_s` for that. One process may have several embedders,
    which share nothing.

    `threads` None means one per core. `policy` decides which addresses image URLs may point to.
    `cache_bytes` is the memory for vectors of texts seen before; None means 32 MiB for an encoder
    that pads its texts, and none for others. `engines` and `sources` add your
    own implementations; your source replaces ours for the schemes that it names.

    Raises ModelNotFound for an unknown model; ValueError for an unknown engine, or if no engine
    supports the options.
    """
    spec = resolve(model)
    storage = CloudStorage()
    options = EngineOptions(
        weights_dir=weights_dir,
        weights_uri=weights_uri,
        allow_download=allow_download,
        device=device,
        precision=precision,
        num_threads=threads or usable_cores(),
        reference_preprocessing=preprocess == "reference",
        hub_cache=hub_cache,
    )
    fitting = engines_for(engine, options, (*engines, *all_engines(storage)))
    opened = open_model(spec, options, fitting, batches, observer)
    pipeline = _Lazy(storage, fetching, decoding, policy, sources)
    return Embedder(opened, pipeline, TextCache(cache_bytes), load_timeout_s)


class _Lazy:
    """Builds the image pipeline with the first image."""

    def __init__(self, storage: CloudStorage, *parts: Any) -> None:
        self._storage = storage
        self._parts = parts
        self._lock = threading.Lock()
        self._pipeline: ImagePipeline | None = None

    def get(self) -> "ImagePipeline":
        """The pipeline, shared by all threads; built on the first call."""
        with self._lock:
            if self._pipeline is None:
                from common.images.opening import open_pipeline

                self._pipeline = open_pipeline(self._storage, *self._parts)
            return self._pipeline

    def close(self) -> None:
        """End the pipeline's threads, if it was built, and the connections to Cloud Storage."""
        with self._lock:
            if self._pipeline is not None:
                self._pipeline.close()
        self._storage.close()
