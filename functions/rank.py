"""POST /rank: candidates ordered by how well they fit a query."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from common.errors import ItemError
from common.ranking import ProbabilityKind, Ranked, rank
from functions.call import Call
from functions.errors import ImagesFailed
from functions.examples import BROKEN, FOX, NOT_AN_IMAGE, Example
from functions.route import IMAGE_ERRORS, Answer, Body, Route
from functions.schemas import MAX_IMAGES, MAX_TEXTS, Count, Item, Request, checked_counts


class RankRequest(Request):
    """A query and candidates, each a text or an image. Without `top_k` all are returned."""

    query: Item
    candidates: Annotated[list[Item], Field(min_length=1, max_length=MAX_TEXTS + MAX_IMAGES)]
    top_k: Count | None = None


@dataclass(frozen=True)
class RankResponse:
    """The candidates, best first. `errors` lists each candidate that could not be embedded.

    `probability_kind` depends on the model. With `softmax` the probabilities of all candidates add
    up to 1. With `sigmoid` each candidate has its own probability, and all may be near 0.
    """

    results: Sequence[Ranked]
    errors: Sequence[ItemError]
    model: str
    probability_kind: ProbabilityKind


def embed_and_rank(body: RankRequest, call: Call) -> RankResponse:
    """The candidates, best first.

    Raises ImagesFailed if the query is an image that fails.
    """
    candidates = [item.read() for item in body.candidates]
    checked_counts(candidates)
    embedded = call.embed([body.query.read(), *candidates])
    failed = [error for error in embedded.errors if error.index == 0]
    if failed:
        raise ImagesFailed("the query's image could not be embedded", failed, field="query")
    indices = [index - 1 for index in embedded.indices[1:]]  # the query is the first
    results = rank(embedded.vectors[0], embedded.vectors[1:], indices, call.model.logits)
    errors = [error.at(error.index - 1) for error in embedded.errors]
    return RankResponse(results[: body.top_k], errors, call.model.spec.id, call.model.logits.kind)


ROUTE = Route(
    "POST",
    "/rank",
    embed_and_rank,
    Answer(RankResponse, "The candidates, best first."),
    Body(RankRequest),
    raises=IMAGE_ERRORS,
    examples={
        "which text fits the image": Example(
            {
                "query": {"url": FOX},
                "candidates": [{"text": "a pizza"}, {"text": "a fox"}, {"text": "a cat"}],
            },
            {
                "results": [
                    {"index": 1, "cosine": 0.787, "probability": 0.9998},
                    {"index": 2, "cosine": 0.423, "probability": 0.0001},
                    {"index": 0, "cosine": 0.362, "probability": 0.0000},
                ],
                "errors": [],
                "model": "demo",
                "probability_kind": "softmax",
            },
        ),
        "the best of two images": Example(
            {
                "query": {"text": "a fox"},
                "candidates": [{"url": BROKEN}, {"url": FOX}],
                "top_k": 1,
            },
            {
                "results": [{"index": 1, "cosine": 0.787, "probability": 1.0}],
                "errors": [NOT_AN_IMAGE],
                "model": "demo",
                "probability_kind": "softmax",
            },
        ),
    },
)
