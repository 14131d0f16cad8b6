"""One vector for several items: the mean of their unit vectors, or one failure for all."""

import numpy as np
import pytest

from common.embeddings import Embeddings
from common.errors import ItemError
from common.items import ImageUrl, Text
from common.joint import Joint, join, parts_of

FOX, PICTURE = Text("a fox"), ImageUrl("https://example.org/fox.png")
ALONG_X, ALONG_Y = np.array([1, 0], np.float32), np.array([0, 1], np.float32)


def embedded(
    *rows: np.ndarray, indices: list[int], errors: list[ItemError] | None = None
) -> Embeddings:
    return Embeddings(np.array(rows, np.float32).reshape(-1, 2), indices, errors or [], [], 3)


def test_a_joint_of_one_part_has_that_parts_vector() -> None:
    given = embedded(ALONG_X, ALONG_Y, indices=[0, 1])
    assert join(given, [Joint((FOX,)), Joint((PICTURE,))]) is given


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((), (0.5**0.5, 0.5**0.5)),
        ((1, 3), (0.1**0.5, 0.9**0.5)),
        ((0, 2), (0, 1)),
        ((5, 0), (1, 0)),
    ],
)
def test_weights_turn_the_vector_towards_a_part(
    weights: tuple[float, ...], expected: tuple[float, float]
) -> None:
    joints = [Joint((PICTURE,)), Joint((FOX, PICTURE), weights)]
    assert parts_of(joints) == [PICTURE, FOX, PICTURE]
    result = join(embedded(ALONG_Y, ALONG_X, ALONG_Y, indices=[0, 1, 2]), joints)
    assert result.vectors[1] == pytest.approx(expected)
    assert (result.indices, result.tokens) == ([0, 1], 3)
    assert result.vectors.dtype == np.float32


def test_a_failed_part_fails_its_joint_and_no_other() -> None:
    error = ItemError(1, "https://example.org/fox.png", "timeout", "too late", retryable=True)
    result = join(
        embedded(ALONG_X, ALONG_Y, indices=[0, 2], errors=[error]),
        [Joint((FOX, PICTURE)), Joint((FOX,))],
    )
    assert (result.indices, result.errors) == ([1], [error.at(0)])
    assert result.vectors.tolist() == [[0, 1]]


def test_vectors_that_cancel_each_other_out_have_no_direction() -> None:
    result = join(embedded(ALONG_X, -ALONG_X, indices=[0, 1]), [Joint((FOX, PICTURE))])
    assert [error.code for error in result.errors] == ["no_direction"]
    assert result.vectors.shape == (0, 2)
