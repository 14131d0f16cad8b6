"""Zero-shot ranking: candidates by their cosine to a query."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.models.spec import Vectors


@dataclass(frozen=True)
class Ranked:
    """One candidate: its place in the request, cosine, and share of the softmax over all of them."""

    index: int
    cosine: float
    probability: float


def rank(
    query: NDArray[np.float32], candidates: Vectors, indices: Sequence[int], logit_scale: float
) -> list[Ranked]:
    """Best first. `query` (d,) and `candidates` (n, d) are of unit norm; `indices` names the rows.

    probability = softmax(logit_scale × cosine), as CLIP's zero-shot classification (Radford et al. 2021, section 3.1).
    """
    cosines = candidates.astype(np.float64) @ query.astype(np.float64)
    weights = np.exp(logit_scale * (cosines - cosines.max(initial=-1.0)))
    probabilities = weights / weights.sum()
    best_first = np.argsort(-cosines, kind="stable")
    return [
        Ranked(indices[row], float(cosines[row]), float(probabilities[row])) for row in best_first
    ]
