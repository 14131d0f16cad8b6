"""A run on a Ray cluster: shards are tasks on actors that hold a loaded encoder.

An actor whose node was lost is replaced. Its shards go to any free actor, because the cluster may
have no room for another one. Embedding a shard twice is safe, because a part is written whole.
"""

import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bulk.errors import BulkError, reason_of
from bulk.job import Job
from bulk.outputs.part import Counts
from bulk.worker import Note, Worker

LOCAL = "local"
LOOPBACK = "127.0.0.1"
ANY_LOOPBACK = "127."
SHARDS_OF_AN_ACTOR = 2  # one is being embedded, the next waits at the actor
CONNECT_TIMEOUT_S = 10.0
FAILED_STARTS = 3  # in a row, before the run gives up


class _Actor:
    """A worker in a process of its own."""

    def __init__(self, job: Job) -> None:
        self._worker = Worker(job)

    def start(self) -> None:
        """Return once the actor runs."""

    def embed(self, shard: int) -> list[Counts]:
        """Embed a shard, and return the counts of its pieces. See Worker.embed."""
        counts: list[Counts] = []
        self._worker.embed([shard], counts.append)
        return counts

    def retry(self, shard: int) -> list[Counts]:
        """Retry a shard, and return the counts of its pieces. See Worker.retry."""
        counts: list[Counts] = []
        self._worker.retry([shard], counts.append)
        return counts


def check_reachable(address: str) -> None:
    """Raises BulkError if nothing listens at HOST:PORT, for which Ray would wait for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or "/" in host:  # a form that Ray resolves itself
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        reason = reason_of(error)
        raise BulkError(f"--ray {address}: no Ray cluster answers there: {reason}") from error


def run_on_cluster(address: str, job: Job, method: str, shards: Sequence[int], note: Note) -> None:
    """Embed the shards on as many actors as the cluster has room for.

    `address` is the cluster's, or LOCAL for a cluster on this machine. Raises what a shard raises.
    """
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    if address == LOCAL:
        options |= {"_node_ip_address": LOOPBACK, "include_dashboard": False}
    else:
        options["address"] = address
        if address.startswith(ANY_LOOPBACK):  # otherwise the driver looks for another node
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
    team = _Team(ray, ray.remote(num_cpus=cores)(_Actor), job, method, shards)
    for _ in range(count):
        team.hire()
    while team.unfinished:
        team.assign()
        for counts in team.wait():
            note(counts)


@dataclass
class _Member:
    """An actor. `shards` are in progress there; `is_ready` says that the actor has started."""

    actor: Any
    shards: set[int]
    is_ready: bool = False
    is_lost: bool = False


class _Team:
    """The actors, and the shards that they share."""

    def __init__(
        self, ray: Any, actor_class: Any, job: Job, method: str, shards: Sequence[int]
    ) -> None:
        self._ray = ray
        self._actor_class = actor_class
        self._job = job
        self._method = method
        self._left = deque(shards)
        self._members: list[_Member] = []
        self._calls: dict[Any, tuple[_Member, int | None]] = {}  # None: the call that starts it
        self._failed_starts = 0
        self.unfinished = len(shards)

    def hire(self) -> None:
        """Start another actor. It gets shards once it runs, which may never happen."""
        member = _Member(self._actor_class.remote(self._job), set())
        self._members.append(member)
        self._calls[member.actor.start.remote()] = (member, None)

    def assign(self) -> None:
        """Give the remaining shards to actors with room."""
        for member in self._members:
            while self._left and member.is_ready and len(member.shards) < SHARDS_OF_AN_ACTOR:
                shard = self._left.popleft()
                member.shards.add(shard)
                call = getattr(member.actor, self._method).remote(shard)
                self._calls[call] = (member, shard)

    def wait(self) -> list[Counts]:
        """Wait for an actor. Returns a shard's counts; none if an actor started or was lost.

        Raises what a shard raises.
        """
        (done,), _ = self._ray.wait(list(self._calls), num_returns=1)
        member, shard = self._calls.pop(done)
        try:
            counts: list[Counts] | None = self._ray.get(done)
        except self._ray.exceptions.RayActorError as error:
            self._lose(member, error)
            return []
        if shard is None:
            member.is_ready = True
            self._failed_starts = 0
            return []
        member.shards.discard(shard)
        self.unfinished -= 1
        return counts or []

    def _lose(self, member: _Member, error: Exception) -> None:
        if member.is_lost:
            return
        member.is_lost = True
        self._members.remove(member)
        self._left.extendleft(sorted(member.shards, reverse=True))
        for call, (owner, _) in list(self._calls.items()):
            if owner is member:
                del self._calls[call]
        if not member.is_ready:
            self._failed_starts += 1
            if self._failed_starts == FAILED_STARTS:
                raise BulkError(f"no actor could start: {str(error).splitlines()[-1]}") from error
        self.hire()
