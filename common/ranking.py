"""Zero-shot ranking: orders candidates by their cosine similarity to a query."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from common.models.spec import Vectors

ProbabilityKind = Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class Ranked:
    """One candidate: its index in the request, its cosine to the query, and its probability."""

    index: int
    cosine: float
    probability: float


@dataclass(frozen=True)
class Logits:
    """How a model turns a cosine into a logit: scale × cosine + bias.

    `bias` is None for models that were trained with a softmax.
    """

    scale: float
    bias: float | None = None

    @property
    def kind(self) -> ProbabilityKind:
        """The kind of probabilities: `softmax` ones add up to 1, `sigmoid` ones are independent."""
        return "softmax" if self.bias is None else "sigmoid"

    def probabilities(self, cosines: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of each candidate, by its cosine.

        softmax is CLIP's zero-shot classification (Radford et al. 2021, section 3.1). sigmoid is
        what SigLIP is trained to predict for a pair (Zhai et al. 2023, section 3.2).
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
    """Rank the candidates, best first.

    `query` (d,) and `candidates` (n, d) have unit norm. `indices` holds each row's index in the
    request.
    """
    cosines = candidates.astype(np.float64) @ query.astype(np.float64)
    probabilities = logits.probabilities(cosines)
    best_first = np.argsort(-cosines, kind="stable")
    return [
        Ranked(indices[row], float(cosines[row]), float(probabilities[row])) for row in best_first
    ]
