"""A run on a Ray cluster: shards are tasks on actors that hold a loaded encoder.

Ray restarts an actor whose node was lost and tries its shard again elsewhere. That is safe: a part
is written whole, and writing it twice gives the same part.
"""

from collections.abc import Callable, Sequence
from typing import Any

from bulk.job import Job
from bulk.outputs.part import Counts
from bulk.worker import Worker

LOCAL = "local"
FOR_EVER = -1


class _Actor:
    """A worker in a process of its own."""

    def __init__(self, job: Job) -> None:
        self._worker = Worker(job)

    def embed(self, shard: int) -> Counts:
        """See Worker.embed."""
        return self._worker.embed(shard)

    def retry(self, shard: int) -> Counts:
        """See Worker.retry."""
        return self._worker.retry(shard)


def run_on_cluster(
    address: str, job: Job, method: str, shards: Sequence[int], note: Callable[[Counts], None]
) -> None:
    """Work on the shards with as many actors as the cluster has room for. Raises what a shard raises."""
    import ray

    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "warning"}
    if address == LOCAL:
        ray.init(_node_ip_address="127.0.0.1", **options)
    else:
        ray.init(address=address, log_to_driver=False, logging_level="warning")
    try:
        _work(ray, job, method, shards, note)
    finally:
        ray.shutdown()


def _work(
    ray: Any, job: Job, method: str, shards: Sequence[int], note: Callable[[Counts], None]
) -> None:
    threads = job.choice.threads or 1
    count = max(1, min(int(ray.cluster_resources().get("CPU", 1)) // threads, len(shards)))
    options = {"max_restarts": FOR_EVER, "max_task_retries": FOR_EVER, "num_cpus": threads}
    actor_class = ray.remote(**options)(_Actor)
    actors = [actor_class.remote(job) for _ in range(count)]
    left = iter(shards)
    running: dict[Any, Any] = {}
    for actor in actors:
        for shard in (next(left, None), next(left, None)):  # the next one waits at the actor
            if shard is not None:
                running[getattr(actor, method).remote(shard)] = actor
    while running:
        (done,), _ = ray.wait(list(running), num_returns=1)
        actor = running.pop(done)
        note(ray.get(done))
        if (shard := next(left, None)) is not None:
            running[getattr(actor, method).remote(shard)] = actor
