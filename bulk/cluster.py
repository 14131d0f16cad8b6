"""A run on a Ray cluster: shards are tasks on actors that hold a loaded encoder.

Ray restarts an actor whose node was lost and tries its shard again elsewhere. That is safe: a part
is written whole, and writing it twice gives the same part.
"""

from collections.abc import Sequence
from typing import Any

from bulk.job import Job
from bulk.outputs.part import Counts
from bulk.worker import Note, Worker

LOCAL = "local"
LOOPBACK = "127.0.0.1"
ANY_LOOPBACK = "127."
FOR_EVER = -1
SHARDS_OF_AN_ACTOR = 2  # one is worked on, the next waits at the actor


class _Actor:
    """A worker in a process of its own."""

    def __init__(self, job: Job) -> None:
        self._worker = Worker(job)

    def embed(self, shard: int) -> list[Counts]:
        """See Worker.embed; the counts of its pieces."""
        counts: list[Counts] = []
        self._worker.embed([shard], counts.append)
        return counts

    def retry(self, shard: int) -> list[Counts]:
        """See Worker.retry."""
        counts: list[Counts] = []
        self._worker.retry([shard], counts.append)
        return counts


def run_on_cluster(address: str, job: Job, method: str, shards: Sequence[int], note: Note) -> None:
    """Work on the shards with as many actors as the cluster has room for.

    `address` is the cluster's, or LOCAL for one on this machine. Raises what a shard raises.
    """
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    if address == LOCAL:
        options |= {"_node_ip_address": LOOPBACK, "include_dashboard": False}
    else:
        options["address"] = address
        if address.startswith(ANY_LOOPBACK):  # else the driver looks for a node elsewhere
            options["_node_ip_address"] = address.partition(":")[0]
    ray.init(**options)
    try:
        _work(ray, job, method, shards, note)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    finally:
        ray.shutdown()


def _work(ray: Any, job: Job, method: str, shards: Sequence[int], note: Note) -> None:
    cores = job.choice.threads or 1
    count = max(1, min(int(ray.cluster_resources().get("CPU", 1)) // cores, len(shards)))
    options = {"max_restarts": FOR_EVER, "max_task_retries": FOR_EVER, "num_cpus": cores}
    actor_class = ray.remote(**options)(_Actor)
    actors = [actor_class.remote(job) for _ in range(count)]
    left = iter(shards)
    running: dict[Any, Any] = {}
    for actor in actors * SHARDS_OF_AN_ACTOR:
        if (shard := next(left, None)) is not None:
            running[getattr(actor, method).remote(shard)] = actor
    while running:
        (done,), _ = ray.wait(list(running), num_returns=1)
        actor = running.pop(done)
        for counts in ray.get(done):
            note(counts)
        if (shard := next(left, None)) is not None:
            running[getattr(actor, method).remote(shard)] = actor
