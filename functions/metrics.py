"""GET /metrics: the metrics of this instance, for Prometheus."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from functions.call import Call
from functions.counters import Queue
from functions.responses import File
from functions.service import Service

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class _Collector:
    """Collects all metrics for prometheus-client."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> "Iterator[Metric]":
        """All metric families, and which model is served."""
        queues: dict[str, Queue] = {
            tower.name: tower.batcher for tower in self._service.model.towers
        }
        yield from self._service.counters.collect(queues)
        yield self._cached()
        yield self._model()

    def _cached(self) -> "Metric":
        """Texts that the cache had and had not, while it is in use."""
        from prometheus_client.core import CounterMetricFamily

        says = "Texts looked up in the cache of text vectors"
        family = CounterMetricFamily("clip_text_cache", says, labels=["outcome"])
        cache = self._service.embedder.cache
        family.add_metric(["hit"], cache.hits)
        family.add_metric(["miss"], cache.misses)
        return family

    def _model(self) -> "Metric":
        """The served model. Its fingerprint is empty until it is known."""
        from prometheus_client.core import InfoMetricFamily

        model = self._service.model
        names = {"model": model.spec.id, "fingerprint": model.fingerprint or ""}
        return InfoMetricFamily("clip_model", "The served model", value=names)


def scrape(call: Call) -> File:
    """The metrics of this instance in Prometheus' text format."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    return File(generate_latest(_Collector(call.service)), CONTENT_TYPE_LATEST)
