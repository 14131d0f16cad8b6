"""GET /metrics: Prometheus text of this instance."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from functions.call import Call
from functions.counters import Queue
from functions.responses import File
from functions.service import Service

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class _Collector:
    """What prometheus-client asks for the metrics."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> "Iterator[Metric]":
        """See Counters.collect."""
        queues: dict[str, Queue] = {
            tower.name: tower.batcher for tower in self._service.model.towers
        }
        return self._service.counters.collect(queues)


def scrape(call: Call) -> File:
    """Counters and distributions of this instance, in Prometheus' text format."""
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

    return File(generate_latest(_Collector(call.service)), CONTENT_TYPE_LATEST)
