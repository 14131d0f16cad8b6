"""Counts and measurements of this process, for Prometheus.

They are kept in plain dictionaries, because importing prometheus-client takes 0.1 s. The first
scrape imports it.
"""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

from common.memory import resident_bytes
from common.models.spec import TowerName
from functions.request_record import RequestRecord

if TYPE_CHECKING:
    from prometheus_client.core import HistogramMetricFamily, Metric

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
ITEMS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
Labels = tuple[str, ...]


class Queue(Protocol):
    """A tower's queue, as the metrics see it."""

    @property
    def queue_items(self) -> int:
        """Items that are admitted and not answered yet."""
        ...


class Distribution:
    """A histogram: how many observations fell at or below each bound, by labels."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts: dict[Labels, list[int]] = {}
        self._sums: Counter[Labels] = Counter()

    def observe(self, value: float, *labels: str) -> None:
        """Count one value."""
        counts = self._counts.setdefault(labels, [0] * (len(self._bounds) + 1))
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[labels] += value  # type: ignore[assignment]

    def fill(self, family: "HistogramMetricFamily") -> "HistogramMetricFamily":
        """Add all samples to `family` and return it."""
        bounds = [*map(str, self._bounds), "+Inf"]
        for labels, counts in self._counts.items():
            buckets = list(zip(bounds, map(float, accumulate(counts)), strict=True))
            family.add_metric(labels, buckets, self._sums[labels])
        return family


class Counters:
    """All counters and histograms of this process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[Labels] = Counter()
        self._request_seconds = Distribution(SECONDS)
        self._stage_seconds = Distribution(SECONDS)
        self._items: Counter[Labels] = Counter()
        self._failed_images: Counter[Labels] = Counter()
        self._batch_items = Distribution(ITEMS)
        self._batch_seconds = Distribution(SECONDS)
        self._loads: Counter[Labels] = Counter()
        self._load_seconds = Distribution(SECONDS)

    def note_request(self, route: str, status: int, record: RequestRecord) -> None:
        """Count an answered request and its timings."""
        with self._lock:
            self._requests[route, str(status)] += 1
            self._request_seconds.observe(record.elapsed_s(), route)
            for stage, seconds in record.stages.items():
                self._stage_seconds.observe(seconds, stage)

    def note_items(self, kind: str, count: int, failures: Sequence[str] = ()) -> None:
        """Count the embedded items of a request. `failures` has the code of each failed one."""
        with self._lock:
            self._items[kind,] += count
            self._failed_images.update((code,) for code in failures)

    def batch_encoded(self, tower: TowerName, items: int, seconds: float) -> None:
        """Count a batch that went through a tower; see TowerObserver."""
        with self._lock:
            self._batch_items.observe(items, tower)
            self._batch_seconds.observe(seconds, tower)

    def load_ended(self, tower: TowerName, outcome: str, seconds: float) -> None:
        """Count the end of a tower's load, `loaded` or `failed`; see TowerObserver."""
        with self._lock:
            self._loads[tower, outcome] += 1
            self._load_seconds.observe(seconds, tower)

    def collect(self, queues: dict[str, Queue]) -> "Iterator[Metric]":
        """All metric families. Queue lengths and memory are read at this moment."""
        with self._lock:
            for name, says, labels, counts in self._counted():
                yield _counter_family(name, says, labels, counts)
            for name, says, label, distribution in self._spread():
                yield _histogram_family(name, says, label, distribution)
        sizes = {tower: queue.queue_items for tower, queue in queues.items()}
        yield _gauge_family("clip_queue_items", "Items admitted and not answered", "tower", sizes)
        resident = {"": resident_bytes()}
        yield _gauge_family("clip_resident_memory_bytes", "Memory the process holds", "", resident)

    def _counted(self) -> "Iterator[tuple[str, str, Labels, Counter[Labels]]]":
        """For each counter: name, help text, label names, and counts by label values."""
        yield "clip_requests", "Requests answered", ("route", "status"), self._requests
        yield "clip_items_embedded", "Texts and images embedded", ("kind",), self._items
        failed = self._failed_images
        yield "clip_images_failed", "Images that failed, by error code", ("code",), failed
        yield "clip_tower_loads", "Loads of a tower", ("tower", "outcome"), self._loads

    def _spread(self) -> "Iterator[tuple[str, str, str, Distribution]]":
        """For each histogram: name, help text, label name and observations."""
        seconds = "duration_seconds"
        yield f"clip_request_{seconds}", "Time to an answer", "route", self._request_seconds
        yield f"clip_stage_{seconds}", "Time of a request's stage", "stage", self._stage_seconds
        yield "clip_batch_size_items", "Items of a forward pass", "tower", self._batch_items
        yield f"clip_batch_{seconds}", "Time of a forward pass", "tower", self._batch_seconds
        yield f"clip_tower_load_{seconds}", "Time of a load", "tower", self._load_seconds


def _counter_family(name: str, says: str, labels: Labels, counts: Counter[Labels]) -> "Metric":
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(name, says, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family


def _histogram_family(name: str, says: str, label: str, distribution: Distribution) -> "Metric":
    from prometheus_client.core import HistogramMetricFamily

    return distribution.fill(HistogramMetricFamily(name, says, labels=[label]))


def _gauge_family(name: str, says: str, label: str, values: dict[str, int]) -> "Metric":
    """A gauge with one label, or without a label if `label` is empty."""
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, says, labels=[label] if label else [])
    for value, number in values.items():
        family.add_metric([value] if label else [], number)
    return family
