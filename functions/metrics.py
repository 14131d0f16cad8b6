"""GET /metrics: Prometheus text of this instance."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from common.metrics import get_metrics
from common.models.registry import get_model

from common.schemas import File

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class _Collector:
    """What prometheus-client asks for the metrics."""

    def collect(self) -> "Iterator[Metric]":
        """See Metrics.collect."""
        return get_metrics().collect({tower.name: tower.batcher for tower in get_model().towers})


def scrape() -> File:
    """Counters and distributions of this instance, in Prometheus' text format."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    return File(generate_latest(_Collector()), CONTENT_TYPE_LATEST)
