"""The commands: what each prints, and its exit status."""

import argparse
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from bulk.compare import agreement
from bulk.errors import BadInput, BulkError
from bulk.job import Job, ModelChoice, OpenInput
from bulk.location import Location
from bulk.options import choice_of, job_of
from bulk.page import page_of
from bulk.progress import progress_of
from bulk.run import Totals, begin, describe, left_to_do, run_shards, totals_of
from bulk.shards import shards_of_task
from bulk.vectors import Output
from bulk.worker import Worker
from common.config import cloud_run_task
from common.items import Text
from common.models.spec import Vectors
from common.opening import open_embedder

DONE, TOO_MANY_FAILED = 0, 3
SHARDS_AT_ONCE = 2  # one is written and the next read while the encoder works
TASK = re.compile(r"(\d+)/(\d+)")
MAX_FAILURES = re.compile(r"(\d+)(%?)")


def embed(given: argparse.Namespace) -> int:
    """Embed what is left of the input."""
    job = job_of(given)
    task, tasks = _task(given.task)
    allowed = MAX_FAILURES.fullmatch(given.max_failures)
    if not allowed:
        raise BulkError(
            f"--max-failures {given.max_failures}: give a number, or a percentage as 1%"
        )
    opened = job.open_input()
    if given.dry_run:
        return _dry_run(job, opened, task, tasks)
    parts, shards = job.parts(), list(shards_of_task(opened.shards.count, task, tasks))
    with Worker(job, opened) as worker:
        folder = Location.of(job.output)
        begin(folder, describe(job, opened, *_identity(worker)))
        _do(given, job, worker, left_to_do(opened, parts, task, tasks), "embed", opened)
        if given.retry_failed:
            again = [shard for shard in shards if parts.counts(shard).retryable]
            _do(given, job, worker, again, "retry", opened)
    totals = totals_of(parts, shards)
    _print_totals(totals)
    limit = int(allowed[1]) * (totals.rows / 100 if allowed[2] else 1)
    return TOO_MANY_FAILED if totals.failures > limit else DONE


def _do(
    given: argparse.Namespace,
    job: Job,
    worker: Worker,
    shards: list[int],
    method: str,
    opened: OpenInput,
) -> None:
    if not shards:
        return
    rows = sum(stop - start for start, stop in map(opened.shards.bounds, shards))
    with progress_of(rows) as progress:
        if given.ray:
            from bulk.cluster import run_on_cluster

            run_on_cluster(given.ray, job, method, shards, progress.note)
        else:
            run_shards(getattr(worker, method), shards, progress.note, SHARDS_AT_ONCE)


def _identity(worker: Worker) -> tuple[str, int]:
    """The fingerprint of the model's vectors, and their length. Loads both towers."""
    model = worker.embedder.model
    for tower in model.towers:
        tower.start_loading()
    for tower in model.towers:
        tower.wait(3600)
    return model.fingerprint or "", model.dimensions or 0


def _task(given: str | None) -> tuple[int, int]:
    if given is None:
        return cloud_run_task()
    match = TASK.fullmatch(given)
    if not match or int(match[1]) >= int(match[2]):
        raise BulkError(f"--task {given}: give I/N, with I from 0 to N - 1")
    return int(match[1]), int(match[2])


def _dry_run(job: Job, opened: OpenInput, task: int, tasks: int) -> int:
    columns = opened.reader.columns
    left = left_to_do(opened, job.parts(), task, tasks)
    print(f"input    {opened.shards.rows:,} rows in {len(opened.reader.files):,} files")
    print(f"columns  text: {columns.text or '-'}, image: {columns.image or '-'}")
    print(f"output   {job.output}: {opened.shards.count:,} parts, {len(left):,} left for this task")
    return DONE


def _print_totals(totals: Totals) -> None:
    print(f"{totals.rows:,} rows, {totals.failures:,} failed")
    _print_codes(totals.failed)


def _print_codes(failed: Counter[str]) -> None:
    for code, count in failed.most_common():
        print(f"  {code}: {count:,}")


def status(given: argparse.Namespace) -> int:
    """What is there of a run."""
    output = Output.open(given.output)
    done = sorted(output.parts.done())
    count = -(-output.run.rows // output.run.shard_rows)
    print(f"model    {output.run.model}, fingerprint {output.run.fingerprint}")
    print(f"shards   {len(done):,} of {count:,} done")
    _print_totals(totals_of(output.parts, done))
    return DONE


def search(given: argparse.Namespace) -> int:
    """Print the rows nearest to a text; write a page with their images if one is asked for."""
    output = Output.open(given.output)
    hits = output.search(_queries(output, choice_of(given), [given.query]), given.top)[0]
    for hit in hits:
        print(f"{hit.cosine:.3f}  {hit.id}")
    if given.html:
        folder = Location.of(given.images or output.run.input)
        root = folder if not folder.info().is_file else Location.of(str(Path(folder.uri).parent))
        given.html.write_text(page_of(given.query, hits, root), "utf-8")
    return DONE


def _queries(output: Output, choice: ModelChoice, texts: list[str]) -> Vectors:
    """The texts' vectors by the model of the run. Raises BulkError if it is not the same model any more."""
    settings = output.run.settings
    choice = replace(choice, model=output.run.model, precision=str(settings["precision"]))
    with open_embedder(
        choice.model,
        engine=choice.engine,
        precision=choice.precision,  # type: ignore[arg-type] # as it was written
        threads=choice.threads,
        weights_dir=choice.weights_dir,
        weights_uri=choice.weights_uri,
        allow_download=choice.allow_download,
    ) as embedder:
        return embedder.embed([Text(text) for text in texts]).vectors


def compare(given: argparse.Namespace) -> int:
    """Print how much two runs agree on the same queries, each embedded by the run's own model."""
    queries = [line for line in given.queries.read_text("utf-8").splitlines() if line.strip()]
    if not queries:
        raise BadInput(f"{given.queries}: no queries")
    found = []
    for uri in (given.old, given.new):
        output = Output.open(uri)
        found.append(output.search(_queries(output, choice_of(given), queries), given.top))
    result = agreement(*found)
    print(f"queries           {result.queries}")
    print(f"overlap of top {given.top:<3}{result.overlap:.3f}")
    print(f"same first        {result.same_first:.3f}")
    print(f"mean rank change  {result.mean_rank_change:.2f}")
    return DONE
