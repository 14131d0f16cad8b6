"""Measures how much two runs agree, with the same queries searched in both."""

from collections.abc import Sequence
from dataclasses import dataclass

from bulk.vectors import Hit


@dataclass(frozen=True)
class Agreement:
    """How much the lists of two runs agree.

    `overlap` is the mean share of an old list that is also in the new list. `same_first` is the
    share of queries with the same best row. `mean_rank_change` is the mean number of places that a
    row in both lists moves.
    """

    queries: int
    overlap: float
    same_first: float
    mean_rank_change: float


def agreement(old: Sequence[Sequence[Hit]], new: Sequence[Sequence[Hit]]) -> Agreement:
    """The agreement of the lists that the same queries found in an old and a new run."""
    shares, firsts, moves = [], [], []
    for before, after in zip(old, new, strict=True):
        ranks = {hit.id: rank for rank, hit in enumerate(after)}
        both = [(rank, ranks[hit.id]) for rank, hit in enumerate(before) if hit.id in ranks]
        shares.append(len(both) / max(1, len(before)))
        firsts.append(bool(before and after and before[0].id == after[0].id))
        moves += [abs(there - here) for here, there in both]
    count = max(1, len(shares))
    return Agreement(
        len(shares), sum(shares) / count, sum(firsts) / count, sum(moves) / max(1, len(moves))
    )
