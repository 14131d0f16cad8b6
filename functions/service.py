"""What all requests of a process share: settings, embedder, API keys and counters."""

from dataclasses import dataclass

from common.batcher import BatchLimits
from common.config import Settings
from common.embedder import Embedder
from common.environment import hub_cache
from common.images.limits import DecodeLimits
from common.models.model import Model
from common.opening import open_embedder
from functions.auth import ApiKeys
from functions.counters import Counters


@dataclass(frozen=True)
class Service:
    """The settings, embedder, API keys and counters of a process."""

    settings: Settings
    embedder: Embedder
    api_keys: ApiKeys
    counters: Counters

    @property
    def model(self) -> Model:
        """The served model."""
        return self.embedder.model


def open_service(settings: Settings) -> Service:
    """The service that the settings describe. Loads nothing and starts no thread.

    Raises ModelNotFound, or ValueError if no engine supports the settings.
    """
    counters = Counters()
    embedder = open_embedder(
        settings.model,
        engine=settings.engine,
        precision=settings.precision,
        device=settings.device,
        threads=settings.num_threads,
        weights_dir=settings.weights_dir,
        weights_uri=settings.weights_uri,
        allow_download=settings.allow_download,
        hub_cache=hub_cache(),
        preprocess=settings.preprocess,
        batches=BatchLimits(
            max_batch_size=settings.max_batch_size,
            max_queue_items=settings.max_queue_items,
            max_batch_wait_s=settings.max_batch_wait_ms / 1000,
        ),
        fetching=settings.fetching,
        decoding=DecodeLimits(max_pixels=settings.max_image_pixels),
        policy=settings.policy,
        cache_bytes=None if settings.cache_mb is None else settings.cache_mb * 2**20,
        load_timeout_s=settings.load_timeout_s,
        observer=counters,
    )
    return Service(settings, embedder, ApiKeys(settings.api_keys), counters)
