"""POST /rank"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from common.errors import ImagesFailed, ItemError
from common.ranking import ProbabilityKind, Ranked, rank
from functions.call import Call
from functions.examples import BROKEN, FOX, NOT_AN_IMAGE, Example
from functions.route import IMAGE_ERRORS, Answer, Body, Route
from functions.schemas import MAX_IMAGES, MAX_TEXTS, Count, Item, Request, checked_counts


class RankRequest(Request):
    """A query and what it is compared with; each is a text or an image. `top_k` None: all."""

    query: Item
    candidates: Annotated[list[Item], Field(min_length=1, max_length=MAX_TEXTS + MAX_IMAGES)]
    top_k: Count | None = None


@dataclass(frozen=True)
class RankResponse:
    """Best first; `errors` has an entry for each candidate that could not be embedded.

    `probability_kind` is the model's: with `softmax` the probabilities add up to 1 over all candidates; with `sigmoid`
    each candidate has one by itself, and none may fit.
    """

    results: Sequence[Ranked]
    errors: Sequence[ItemError]
    model: str
    probability_kind: ProbabilityKind


def embed_and_rank(body: RankRequest, call: Call) -> RankResponse:
    """The candidates, best first. Raises ImagesFailed where the query is an image that fails."""
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
        "which text fits the picture": Example(
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
        "the best of two pictures": Example(
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
