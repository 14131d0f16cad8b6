"""An engine of fake encoders, and an embedder that uses it."""

from collections.abc import Sequence
from ipaddress import ip_network

from common.batcher import BatchLimits
from common.embedder import Embedder
from common.images.limits import FetchLimits
from common.images.url_policy import UrlPolicy
from common.models.fingerprint import Fingerprints
from common.models.spec import EngineOptions, ImageEncoder, ModelSpec, TextEncoder
from common.opening import open_embedder
from tests.fake_encoders import FakeImage, FakeText

LOOPBACK = UrlPolicy((), (ip_network("127.0.0.0/8"),))


class FakeEngine:
    """Serves every model with the same two fake encoders; `image_failure` is what a load raises."""

    name = "fake"

    def __init__(self) -> None:
        self.text = FakeText()
        self.image = FakeImage()
        self.image_failure: Exception | None = None

    def unfit(self, options: EngineOptions) -> str:
        return ""

    def refusal(self, spec: ModelSpec, options: EngineOptions) -> str:
        return ""

    def fingerprints(self, spec: ModelSpec, options: EngineOptions) -> Fingerprints | None:
        return None

    def foresee(self, spec: ModelSpec, options: EngineOptions) -> str:
        return str(self.image_failure or "")

    def load_text(self, spec: ModelSpec, options: EngineOptions) -> TextEncoder:
        return self.text

    def load_image(self, spec: ModelSpec, options: EngineOptions) -> ImageEncoder:
        if self.image_failure:
            raise self.image_failure
        return self.image


def fake_embedder(
    engine: FakeEngine, cache_bytes: int | None = 0, queue_items: int = 100
) -> Embedder:
    """An embedder over the engine, which may fetch from loopback."""
    engines: Sequence[FakeEngine] = [engine]
    return open_embedder(
        "demo",
        engine=engine.name,
        engines=engines,
        batches=BatchLimits(max_batch_size=8, max_queue_items=queue_items),
        fetching=FetchLimits(timeout_s=5, retries=0, max_bytes=10**6, concurrency=2),
        policy=LOOPBACK,
        cache_bytes=cache_bytes,
        load_timeout_s=5,
    )
