"""POST /rank"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from common.errors import ImagesFailed, ItemError
from common.ranking import Ranked, rank
from common.schemas import MAX_IMAGES, MAX_TEXTS, Item, Request, checked_counts
from functions.call import Call


class RankRequest(Request):
    """A query and what it is compared with; each is a text or an image. `top_k` None: all."""

    query: Item
    candidates: Annotated[list[Item], Field(min_length=1, max_length=MAX_TEXTS + MAX_IMAGES)]
    top_k: Annotated[int, Field(ge=1)] | None = None


@dataclass(frozen=True)
class RankResponse:
    """Best first; `errors` has an entry for each candidate that could not be embedded."""

    results: Sequence[Ranked]
    errors: Sequence[ItemError]
    model: str


def embed_and_rank(body: RankRequest, call: Call) -> RankResponse:
    """The candidates, best first. Raises ImagesFailed where the query is an image that fails."""
    checked_counts(body.candidates)
    embedded = call.embed([item.read() for item in (body.query, *body.candidates)])
    failed = [error for error in embedded.errors if error.index == 0]
    if failed:
        raise ImagesFailed("the query's image could not be embedded", failed, field="query")
    indices = [index - 1 for index in embedded.indices[1:]]  # the query is the first
    results = rank(embedded.vectors[0], embedded.vectors[1:], indices, call.model.logit_scale)
    errors = [error.at(error.index - 1) for error in embedded.errors]
    return RankResponse(results[: body.top_k], errors, call.model.spec.id)
