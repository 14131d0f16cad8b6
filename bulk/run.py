"""A run: what is there already, what is left, and how it ends."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from bulk.errors import BadOutput
from bulk.job import Job, OpenInput
from bulk.location import Location
from bulk.outputs.part import Counts, Parts
from bulk.run_file import NAME, RunFile, listing_of
from bulk.shards import shards_of_task

SUMMARY_READERS = 16  # footers of parts that are read at a time


@dataclass(frozen=True)
class Totals:
    """Rows of all parts that are there, and their failures by code."""

    rows: int
    failed: Counter[str]
    retryable: int

    @classmethod
    def of(cls, counts: Iterable[Counts]) -> "Totals":
        """The sum of parts' counts."""
        rows, retryable = 0, 0
        failed: Counter[str] = Counter()
        for one in counts:
            rows += one.rows
            retryable += one.retryable
            failed.update(one.failed)
        return cls(rows, failed, retryable)

    @property
    def failures(self) -> int:
        """Rows that failed."""
        return self.failed.total()


def describe(job: Job, opened: OpenInput, fingerprint: str, dimensions: int) -> RunFile:
    """The run file of a job."""
    return RunFile(
        model=job.choice.model,
        fingerprint=fingerprint,
        dimensions=dimensions,
        input=job.input,
        files=len(opened.reader.files),
        rows=opened.shards.rows,
        listing=listing_of(opened.reader.files),
        shard_rows=job.shard_rows,
        settings=job.settings(opened.reader.columns),
    )


def read_run_file(folder: Location) -> RunFile | None:
    """The run file in an output folder; None if there is none. Raises BadOutput."""
    place = folder.child(NAME)
    try:
        if not place.info().is_file:
            return None
        return RunFile.from_json(place.read())
    except (OSError, ValueError) as error:
        raise BadOutput(f"{place.uri}: cannot be read ({type(error).__name__})") from error


def begin(folder: Location, run: RunFile) -> None:
    """Write the run file, or check that the one in the folder is of the same run. Raises BadOutput."""
    there = read_run_file(folder)
    if there is None:
        if any(not file.base_name.startswith(".") for file in folder.files()):
            raise BadOutput(f"{folder.uri}: not empty, and not the output of a run")
        try:
            folder.child(NAME).write(run.to_json())
        except OSError as error:
            raise BadOutput(f"{folder.uri}: cannot be written to ({error.strerror})") from error
        return
    differences = there.differences(run)
    if differences:
        what = "; ".join(differences)
        raise BadOutput(f"{folder.uri}: holds another run: {what}; use another folder")


def left_to_do(opened: OpenInput, parts: Parts, task: int, tasks: int) -> list[int]:
    """The shards of this task that have no part yet."""
    done = parts.done()
    return [
        shard for shard in shards_of_task(opened.shards.count, task, tasks) if shard not in done
    ]


def totals_of(parts: Parts, shards: Sequence[int]) -> Totals:
    """The counts of these parts."""
    with ThreadPoolExecutor(SUMMARY_READERS) as pool:
        return Totals.of(pool.map(parts.counts, shards))


def run_shards(
    work: Callable[[int], Counts],
    shards: Sequence[int],
    note: Callable[[Counts], None],
    at_once: int,
) -> None:
    """Work on the shards, `at_once` of them at a time. The first error ends it, and is raised."""
    pool = ThreadPoolExecutor(at_once, "shard")
    pending = [pool.submit(work, shard) for shard in shards]
    try:
        for future in as_completed(pending):
            note(future.result())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
