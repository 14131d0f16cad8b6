"""The commands. Each prints its results and returns its exit status."""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulk.cluster import check_reachable, run_on_cluster
from bulk.errors import BadOutput
from bulk.job import Job, OpenInput
from bulk.limits import USUAL_DIMENSIONS, AllowedFailures, check_memory, check_names
from bulk.location import Location
from bulk.options import job_of
from bulk.outputs.part import Counts
from bulk.progress import progress_of
from bulk.run import Totals, begin, check_apart, check_output, check_run, describe
from bulk.run_file import RunFile
from bulk.shards import shards_of_task
from bulk.summary import Summary
from bulk.tasks import task_of
from bulk.vectors import Output
from common.embedder import Embedder
from common.environment import variables
from common.memory import instance_bytes
from common.models.catalog import resolve

if TYPE_CHECKING:
    from bulk.worker import Worker

DONE, TOO_MANY_FAILED = 0, 3
LOAD_TIMEOUT_S = 3600.0


def embed(given: argparse.Namespace) -> int:
    """Embed the rows that have no part yet."""
    job = job_of(given)
    allowed = AllowedFailures.of(given.max_failures)
    task, tasks = task_of(given.task, variables())
    opened = job.open_input()
    check_names(opened.reader.columns)
    check_apart(job.input, job.output)
    _check_memory(job, opened)
    check_reachable(given.ray or "")
    folder, run = Location.of(job.output), describe(job, opened)
    check_output(folder, run, opened.reader.files)
    shards = shards_of_task(opened.shards.count, task, tasks)
    work = _Work(given, job, opened, folder, run, shards, Summary(folder, job.parts(), task, tasks))
    if given.dry_run:
        return work.dry_run()
    totals = Totals.of(work.do().values())
    _print_totals(totals)
    return DONE if allowed.permits(totals.failures, totals.rows) else TOO_MANY_FAILED


def _check_memory(job: Job, opened: OpenInput) -> None:
    dimensions = resolve(job.choice.model).dimensions or USUAL_DIMENSIONS
    kinds = bool(opened.reader.columns.text) + bool(opened.reader.columns.image)
    check_memory(job.shard_rows, opened.shards.rows, dimensions * kinds, instance_bytes())


@dataclass(frozen=True)
class _Work:
    """The shards of one task of a run, and what is needed to embed them."""

    given: argparse.Namespace
    job: Job
    opened: OpenInput
    folder: Location
    run: RunFile
    shards: Sequence[int]
    summary: Summary

    def do(self) -> Mapping[int, Counts]:
        """Embed what is left. Returns the counts of all parts of this task.

        If nothing is left, this starts no worker: a task that is retried ends at once.
        """
        done = self.summary.done()
        left = self._without(done)
        counts = self.summary.counts(self.shards, done)
        if not left:
            print("all parts are written: nothing left to do")
        if left or (self.given.retry_failed and _retryable(counts)):
            self._work(left)
            done = self.summary.done()
            counts = self.summary.counts(self.shards, done)
        else:
            self._check_model()
        if self._without(done):
            raise BadOutput(f"{self.folder.uri}: parts have disappeared during the run")
        return counts

    def _without(self, done: Mapping[int, str]) -> list[int]:
        return [shard for shard in self.shards if shard not in done]

    def _work(self, left: Sequence[int]) -> None:
        from bulk.worker import Worker

        with Worker(self.job, self.opened) as worker:
            run = self.run.of_model(*_identity(worker.embedder))
            begin(self.folder, run, self.opened.reader.files)
            self._call(worker, "embed", left)
            if self.given.retry_failed:
                counts = self.summary.counts(self.shards, self.summary.done())
                self._call(worker, "retry", _retryable(counts))
        check_run(self.folder, run)  # someone may have emptied the folder for another run

    def _call(self, worker: "Worker", method: str, shards: Sequence[int]) -> None:
        if not shards:
            return
        rows = sum(stop - start for start, stop in map(self.opened.shards.bounds, shards))
        with progress_of(rows) as progress:
            if self.given.ray:
                run_on_cluster(self.given.ray, self.job, method, shards, progress.note)
            else:
                getattr(worker, method)(shards, progress.note)

    def _check_model(self) -> None:
        """Refuse another model's folder, if the model is known without loading it."""
        with self.job.open_embedder(self.opened.root) as embedder:
            fingerprint, dimensions = embedder.model.fingerprint, embedder.model.dimensions
        if fingerprint is not None and dimensions is not None:
            check_run(self.folder, self.run.of_model(fingerprint, dimensions))

    def dry_run(self) -> int:
        """Print what there is to do."""
        columns, opened = self.opened.reader.columns, self.opened
        left = len(self._without(self.summary.done()))
        print(f"input    {opened.shards.rows:,} rows in {len(opened.reader.files):,} files")
        print(f"columns  text: {columns.text or '-'}, image: {columns.image or '-'}")
        print(f"output   {self.job.output}: {opened.shards.count:,} parts, {left:,} left", end="")
        print(" for this task")
        return DONE


def _retryable(counts: Mapping[int, Counts]) -> list[int]:
    return [shard for shard, count in counts.items() if count.retryable]


def _identity(embedder: Embedder) -> tuple[str, int]:
    """The fingerprint of the model's vectors, and their length.

    Loads both towers if that is the only way to know them: a bundle's manifest tells them.
    """
    model = embedder.model
    if model.fingerprint is None or model.dimensions is None:
        model.preload(("text", "image"))
        for tower in model.towers:
            tower.wait(LOAD_TIMEOUT_S)
    return model.fingerprint or "", model.dimensions or 0


def _print_totals(totals: Totals) -> None:
    print(f"{totals.rows:,} rows, {totals.failures:,} failed")
    _print_codes(totals.failed)


def _print_codes(failed: Counter[str]) -> None:
    for code, count in failed.most_common():
        print(f"  {code}: {count:,}")


def status(given: argparse.Namespace) -> int:
    """Print how far a run is, and what failed."""
    output = Output.open(given.output)
    count = -(-output.run.rows // output.run.shard_rows)
    summary = Summary(output.folder, output.parts)
    counts = summary.counts(range(count), summary.done())
    print(f"model    {output.run.model}, fingerprint {output.run.fingerprint}")
    print(f"input    {output.run.input}: {output.run.rows:,} rows")
    print(f"parts    {len(counts):,} of {count:,} written, {count - len(counts):,} left")
    totals = Totals.of(counts.values())
    _print_totals(totals)
    if totals.retryable:
        print(f"{totals.retryable:,} of them may work when tried again: use --retry-failed")
    return DONE
