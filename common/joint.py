"""One vector for several items together, such as a product's title and its photograph."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.embeddings import Embeddings
from common.errors import ItemError
from common.items import Item

MIN_NORM = 1e-6  # of a mean of unit vectors; below, rounding alone would decide its direction
CANCELLED_OUT = "no_direction"


@dataclass(frozen=True)
class Joint:
    """Items that get one vector: the weighted mean of their unit vectors, scaled to norm 1.

    `weights` has one number of at least 0 for each part; empty: all count the same.
    """

    parts: tuple[Item, ...]
    weights: tuple[float, ...] = ()


def parts_of(joints: Sequence[Joint]) -> list[Item]:
    """All parts, in order."""
    return [part for joint in joints for part in joint.parts]


def join(embedded: Embeddings, joints: Sequence[Joint]) -> Embeddings:
    """The vectors of `joints`, whose parts are `embedded` in the order of `parts_of`.

    A joint of one part has that part's vector, bit for bit. One with a part that failed has the
    first of its parts' errors.
    """
    if all(len(joint.parts) == 1 for joint in joints):
        return embedded
    owners = [index for index, joint in enumerate(joints) for _ in joint.parts]
    failed: dict[int, ItemError] = {}
    for error in embedded.errors:
        owner = owners[error.index]
        failed.setdefault(owner, error.at(owner))
    rows = dict(zip(embedded.indices, embedded.vectors, strict=True))
    vectors: dict[int, NDArray[np.float32]] = {}
    start = 0
    for index, joint in enumerate(joints):
        places = range(start, start := start + len(joint.parts))
        if index in failed:
            continue
        vector = _mean([rows[place] for place in places], joint.weights)
        if vector is None:
            detail = "the vectors of its parts cancel each other out"
            failed[index] = ItemError(index, "", CANCELLED_OUT, detail, retryable=False)
        else:
            vectors[index] = vector
    return Embeddings(
        np.stack(list(vectors.values())) if vectors else embedded.vectors[:0],
        list(vectors),
        [failed[index] for index in sorted(failed)],
        sorted({owners[part] for part in embedded.truncated}),
        embedded.tokens,
    )


def _mean(
    vectors: Sequence[NDArray[np.float32]], weights: Sequence[float]
) -> NDArray[np.float32] | None:
    """The weighted mean at norm 1; None if it has no direction."""
    if len(vectors) == 1:
        return vectors[0]
    shares = np.asarray(weights or [1.0] * len(vectors))
    mean = (shares / shares.sum()) @ np.stack(vectors).astype(np.float64)
    norm = float(np.linalg.norm(mean))
    return (mean / norm).astype(np.float32) if norm > MIN_NORM else None
