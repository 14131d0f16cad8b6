"""The counts of many parts, cached in a file beside them.

The cache has nothing that the parts do not have. A part that it lacks, or that is newer, is read.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import orjson

from bulk.location import Location
from bulk.outputs.part import Counts, Parts

NAME = "_counts.json"
READERS = 16  # parts that are read at the same time


def counts_of(folder: Location, parts: Parts, shards: Iterable[int]) -> dict[int, Counts]:
    """The counts of these shards' parts. Shards without a part are left out."""
    stamps = parts.done()
    known = _known(folder, stamps)
    wanted = [shard for shard in shards if shard in stamps]
    unknown = [shard for shard in wanted if shard not in known]
    with ThreadPoolExecutor(READERS) as pool:
        known.update(zip(unknown, pool.map(parts.counts, unknown), strict=True))
    if unknown:
        _remember(folder, stamps, known)
    return {shard: known[shard] for shard in wanted}


def _known(folder: Location, stamps: dict[int, str]) -> dict[int, Counts]:
    try:
        entries = orjson.loads(folder.child(NAME).read())
        return {
            int(shard): Counts(**counts)
            for shard, (stamp, counts) in entries.items()
            if stamps.get(int(shard)) == stamp
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember(folder: Location, stamps: dict[int, str], known: dict[int, Counts]) -> None:
    entries = {
        str(shard): (stamps[shard], asdict(counts)) for shard, counts in sorted(known.items())
    }
    try:
        folder.child(NAME).write(orjson.dumps(entries))
    except OSError:  # it only saves time
        return
