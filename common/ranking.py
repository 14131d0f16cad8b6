"""Zero-shot ranking: candidates by their cosine to a query."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from common.models.spec import Vectors

ProbabilityKind = Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class Ranked:
    """One candidate: its place in the request, its cosine to the query, and its probability."""

    index: int
    cosine: float
    probability: float


@dataclass(frozen=True)
class Logits:
    """How a model makes a logit of a cosine: scale × cosine + bias. `bias` None: it was trained with a softmax."""

    scale: float
    bias: float | None = None

    @property
    def kind(self) -> ProbabilityKind:
        """`softmax`: the candidates' probabilities add up to 1. `sigmoid`: each stands by itself."""
        return "softmax" if self.bias is None else "sigmoid"

    def probabilities(self, cosines: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each candidate.

        softmax: CLIP's zero-shot classification (Radford et al. 2021, section 3.1); sigmoid: the probability that
        SigLIP was trained to give a pair (Zhai et al. 2023, section 3.2).
        """
        logits = self.scale * cosines + (self.bias or 0.0)
        if self.bias is not None:
            sigmoid: NDArray[np.float64] = np.exp(-np.logaddexp(0.0, -logits))  # does not overflow
            return sigmoid
        weights: NDArray[np.float64] = np.exp(logits - logits.max(initial=-np.inf))
        shares: NDArray[np.float64] = weights / weights.sum()
        return shares


def rank(
    query: NDArray[np.float32], candidates: Vectors, indices: Sequence[int], logits: Logits
) -> list[Ranked]:
    """Best first. `query` (d,) and `candidates` (n, d) are of unit norm; `indices` names the rows."""
    cosines = candidates.astype(np.float64) @ query.astype(np.float64)
    probabilities = logits.probabilities(cosines)
    best_first = np.argsort(-cosines, kind="stable")
    return [
        Ranked(indices[row], float(cosines[row]), float(probabilities[row])) for row in best_first
    ]
