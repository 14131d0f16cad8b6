"""Probabilities of a ranking: a softmax over all candidates, or SigLIP's sigmoid of each."""

import numpy as np
import pytest

from common.ranking import Logits, rank

QUERY = np.array([1, 0], np.float32)


def candidates(*cosines: float) -> np.ndarray:
    """Unit vectors with these cosines to QUERY."""
    return np.array([[cosine, (1 - cosine**2) ** 0.5] for cosine in cosines], np.float32)


def test_a_softmax_adds_up_to_one_and_keeps_the_ratio_of_its_logits() -> None:
    ranked = rank(QUERY, candidates(0.2, 0.3), [4, 7], Logits(10.0))
    assert [entry.index for entry in ranked] == [7, 4]
    assert sum(entry.probability for entry in ranked) == pytest.approx(1)
    assert ranked[0].probability / ranked[1].probability == pytest.approx(np.exp(1), rel=1e-5)
    assert Logits(10.0).kind == "softmax"


@pytest.mark.parametrize(
    ("cosine", "expected"), [(0.0345, 3.25e-6), (16.5 / 112, 0.5), (0.2, 0.99725), (-1.0, 0.0)]
)
def test_siglips_probability_is_of_a_pair_by_itself(cosine: float, expected: float) -> None:
    """With SigLIP2's scale of 112 and bias of -16.5; another candidate changes nothing."""
    logits = Logits(112.0, -16.5)
    alone = rank(QUERY, candidates(cosine), [0], logits)[0].probability
    beside = {
        entry.index: entry.probability
        for entry in rank(QUERY, candidates(cosine, 0.9, 0.1), [0, 1, 2], logits)
    }
    assert alone == pytest.approx(expected, rel=5e-3, abs=1e-12)
    assert beside[0] == pytest.approx(alone)
    assert logits.kind == "sigmoid"


def test_no_scale_overflows() -> None:
    for logits in (Logits(1e6), Logits(1e6, -1e6), Logits(1e6, 0.0)):
        probabilities = [
            entry.probability for entry in rank(QUERY, candidates(-1, 1), [0, 1], logits)
        ]
        assert np.isfinite(probabilities).all()


def test_without_candidates_there_is_nothing_to_rank() -> None:
    for logits in (Logits(100.0), Logits(100.0, -10.0)):
        assert rank(QUERY, np.empty((0, 2), np.float32), [], logits) == []
