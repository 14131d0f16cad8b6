"""The commands that look at what a run wrote. Each prints its results and returns its status."""

import argparse
from dataclasses import replace

from bulk.compare import agreement
from bulk.errors import BadInput, reason_of
from bulk.job import ModelChoice
from bulk.options import choice_of
from bulk.page import cards_of, page_of
from bulk.vectors import Output
from common.items import Text
from common.models.spec import Vectors
from common.opening import open_embedder

DONE = 0


def search(given: argparse.Namespace) -> int:
    """Print the rows nearest to a text; write a page with their images if one is asked for."""
    output = Output.open(given.output)
    hits = output.search(_queries(output, choice_of(given), [given.query]), given.top)[0]
    for hit in hits:
        print(f"{hit.cosine:.3f}  {hit.id}")
    if not hits:
        print("no row has a vector")
    if given.html:
        cards = cards_of(hits, output.run, given.input or output.run.input)
        given.html.write_text(page_of(given.query, cards, output.run), "utf-8")
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
