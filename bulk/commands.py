"""The commands. Each prints its results and returns its exit status."""

import argparse
from collections import Counter
from dataclasses import replace

from bulk.cluster import check_reachable, run_on_cluster
from bulk.compare import agreement
from bulk.errors import BadInput, reason_of
from bulk.job import Job, ModelChoice, OpenInput
from bulk.limits import USUAL_DIMENSIONS, AllowedFailures, check_memory
from bulk.location import Location
from bulk.options import choice_of, job_of
from bulk.page import cards_of, page_of
from bulk.progress import progress_of
from bulk.run import Totals, begin, check_output, describe, left_to_do
from bulk.shards import shards_of_task
from bulk.summary import counts_of
from bulk.tasks import task_of
from bulk.vectors import Output
from bulk.worker import Worker
from common.embedder import Embedder
from common.environment import variables
from common.items import Text
from common.memory import instance_bytes
from common.models.catalog import resolve
from common.models.spec import Vectors
from common.opening import open_embedder

DONE, TOO_MANY_FAILED = 0, 3
LOAD_TIMEOUT_S = 3600.0


def embed(given: argparse.Namespace) -> int:
    """Embed the rows that have no part yet."""
    job = job_of(given)
    allowed = AllowedFailures.of(given.max_failures)
    task, tasks = task_of(given.task, variables())
    opened = job.open_input()
    _check_memory(job, opened)
    check_reachable(given.ray or "")
    folder, run, files = Location.of(job.output), describe(job, opened), opened.reader.files
    check_output(folder, run, files)
    if given.dry_run:
        return _dry_run(job, opened, task, tasks)
    parts = job.parts()
    with Worker(job, opened) as worker:
        begin(folder, run.of_model(*_identity(worker.embedder)), files)
        left = left_to_do(opened, parts, task, tasks)
        if not left:
            print("all parts are written: nothing left to do")
        _do(given, job, worker, left, "embed", opened)
        shards = shards_of_task(opened.shards.count, task, tasks)
        if given.retry_failed:
            counts = counts_of(folder, parts, shards)
            again = [shard for shard in shards if counts[shard].retryable]
            _do(given, job, worker, again, "retry", opened)
    totals = Totals.of(counts_of(folder, parts, shards).values())
    _print_totals(totals)
    return DONE if allowed.permits(totals.failures, totals.rows) else TOO_MANY_FAILED


def _check_memory(job: Job, opened: OpenInput) -> None:
    dimensions = resolve(job.choice.model).dimensions or USUAL_DIMENSIONS
    kinds = bool(opened.reader.columns.text) + bool(opened.reader.columns.image)
    check_memory(job.shard_rows, opened.shards.rows, dimensions * kinds, instance_bytes())


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
            run_on_cluster(given.ray, job, method, shards, progress.note)
        else:
            getattr(worker, method)(shards, progress.note)


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
    """Print how far a run is, and what failed."""
    output = Output.open(given.output)
    count = -(-output.run.rows // output.run.shard_rows)
    counts = counts_of(output.folder, output.parts, range(count))
    print(f"model    {output.run.model}, fingerprint {output.run.fingerprint}")
    print(f"input    {output.run.input}: {output.run.rows:,} rows")
    print(f"parts    {len(counts):,} of {count:,} written, {count - len(counts):,} left")
    totals = Totals.of(counts.values())
    _print_totals(totals)
    if totals.retryable:
        print(f"{totals.retryable:,} of them may work when tried again: use --retry-failed")
    return DONE


def search(given: argparse.Namespace) -> int:
    """Print the rows nearest to a text; write a page with their images if one is asked for."""
    output = Output.open(given.output)
    hits = output.search(_queries(output, choice_of(given), [given.query]), given.top)[0]
    for hit in hits:
        print(f"{hit.cosine:.3f}  {hit.id}")
    if given.html:
        cards = cards_of(hits, output.run, given.input or output.run.input)
        given.html.write_text(page_of(given.query, cards), "utf-8")
    return DONE


def _queries(output: Output, choice: ModelChoice, texts: list[str]) -> Vectors:
    """The texts' vectors from the run's model."""
    choice = replace(
        choice, model=output.run.model, precision=str(output.run.settings["precision"])
    )
    with open_embedder(
        choice.model,
        engine=choice.engine,
        precision=choice.precision,  # type: ignore[arg-type] # from the run file
        device=choice.device,  # type: ignore[arg-type]
        threads=choice.threads,
        weights_dir=choice.weights_dir,
        weights_uri=choice.weights_uri,
        allow_download=choice.allow_download,
    ) as embedder:
        return embedder.embed([Text(text) for text in texts]).vectors


def compare(given: argparse.Namespace) -> int:
    """Print how much two runs agree on the same queries, each embedded by the run's own model."""
    try:
        lines = given.queries.read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        why = reason_of(error) if isinstance(error, OSError) else "not UTF-8"
        raise BadInput(f"{given.queries}: cannot be read: {why}") from error
    queries = [line for line in lines if line.strip()]
    if not queries:
        raise BadInput(f"{given.queries}: no queries")
    outputs = [Output.open(uri) for uri in (given.old, given.new)]
    found = [
        output.search(_queries(output, choice_of(given), queries), given.top) for output in outputs
    ]
    result = agreement(*found)
    print(f"queries           {result.queries}")
    print(f"overlap of top {given.top:<3}{result.overlap:.3f}")
    print(f"same first        {result.same_first:.3f}")
    print(f"mean rank change  {result.mean_rank_change:.2f}")
    return DONE
