"""The counts of many parts, cached in a file beside them.

The cache has nothing that the parts do not have. A part that it lacks, or that is newer, is read.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

import orjson

from bulk.footer import READERS
from bulk.location import Location
from bulk.outputs.part import Counts, Parts


class Summary:
    """Counts the rows of parts. Each task has a cache of its own, because they end together."""

    def __init__(self, folder: Location, parts: Parts, task: int = 0, tasks: int = 1) -> None:
        self._parts = parts
        self._is_local = folder.is_local
        self._cache = folder.child(
            "_counts.json" if tasks == 1 else f"_counts-{task}-of-{tasks}.json"
        )

    def done(self) -> dict[int, str]:
        """The shards that have parts now, with their stamps: one listing of the folder."""
        return self._parts.done()

    def counts(self, shards: Iterable[int], done: Mapping[int, str]) -> dict[int, Counts]:
        """The counts of these shards' parts. Shards that are not `done` are left out."""
        known = self._known(done)
        wanted = [shard for shard in shards if shard in done]
        unknown = [shard for shard in wanted if shard not in known]
        known.update(zip(unknown, self._read(unknown), strict=True))
        if unknown:
            self._remember(done, known)
        return {shard: known[shard] for shard in wanted}

    def _read(self, shards: list[int]) -> list[Counts]:
        """Threads wait for a bucket's answers together; for local files they only cost time."""
        if self._is_local or not shards:
            return [self._parts.counts(shard) for shard in shards]
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(self._parts.counts, shards))

    def _known(self, done: Mapping[int, str]) -> dict[int, Counts]:
        try:
            entries = orjson.loads(self._cache.read())
            return {
                int(shard): Counts(**counts)
                for shard, (stamp, counts) in entries.items()
                if done.get(int(shard)) == stamp
            }
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _remember(self, done: Mapping[int, str], known: Mapping[int, Counts]) -> None:
        entries = {str(shard): (done[shard], counts) for shard, counts in sorted(known.items())}
        try:
            self._cache.write(orjson.dumps(entries))
        except OSError:  # it only saves time
            return
