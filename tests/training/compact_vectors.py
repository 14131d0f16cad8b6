"""What each `output_dtype` costs in recall, from text to image over the fixed 400 emoji.

python -m tests.training.compact_vectors

It prints the table of docs/vectors.md. The vectors are the demo model's on the torch engine, so
that only the type makes a difference.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.models.spec import Vectors
from common.quantization import OutputDtype, quantize
from export.emoji import STYLES
from tests.demo_recall import captions, pictures

TOP = 10
CANDIDATES = 40  # that are taken by Hamming distance and ranked again
WIDTHS = (256, 512)  # of demo, of clip
Scores = NDArray[Any]  # (texts, images), higher is nearer


@dataclass(frozen=True)
class Way:
    """A type, and how its vectors are compared."""

    dtypes: tuple[OutputDtype, ...]
    search: str
    score: Callable[[Vectors, Vectors], Scores]


@dataclass(frozen=True)
class Loss:
    """By style: the share of texts whose image is among the first TOP, and of float's TOP kept."""

    way: Way
    recall: dict[str, float]
    overlap: dict[str, float]

    @property
    def bytes_a_vector(self) -> list[int]:
        """At WIDTHS."""
        return [
            sum(quantize(np.ones((1, d), np.float32), dtype).nbytes for dtype in self.way.dtypes)
            for d in WIDTHS
        ]


def dot(texts: NDArray[Any], images: NDArray[Any]) -> Scores:
    """In float64, so that no integer overflows."""
    products: Scores = texts.astype(np.float64) @ images.astype(np.float64).T
    return products


def cosine(texts: NDArray[Any], images: NDArray[Any]) -> Scores:
    """The dot product over both lengths: an int8 vector has a scale of its own."""
    text_lengths, image_lengths = (
        np.linalg.norm(rows.astype(np.float64), axis=1) for rows in (texts, images)
    )
    cosines: Scores = dot(texts, images) / np.outer(text_lengths, image_lengths)
    return cosines


def hamming(texts: NDArray[np.uint8], images: NDArray[np.uint8]) -> Scores:
    """Minus the bits that differ."""
    different: Scores = np.bitwise_count(texts[:, None] ^ images[None]).sum(axis=2, dtype=np.int64)
    return -different


def of(
    dtype: OutputDtype, score: Callable[[Any, Any], Scores]
) -> Callable[[Vectors, Vectors], Scores]:
    """`score` of both sides as `dtype`."""
    return lambda texts, images: score(quantize(texts, dtype), quantize(images, dtype))


def centred(texts: NDArray[np.uint8], images: NDArray[np.uint8]) -> Scores:
    """uint8 back to int8, then as that."""
    return cosine(texts.astype(np.int16) - 128, images.astype(np.int16) - 128)


def ranked_again(texts: Vectors, images: Vectors) -> Scores:
    """The CANDIDATES nearest by Hamming distance, sorted by int8 cosine; then the others."""
    coarse, fine = of("ubinary", hamming)(texts, images), of("int8", cosine)(texts, images)
    nearest = best(coarse, CANDIDATES)
    scores = np.full(fine.shape, -2.0)
    np.put_along_axis(scores, nearest, np.take_along_axis(fine, nearest, axis=1), axis=1)
    return scores


WAYS = (
    Way(("float",), "dot product", of("float", dot)),
    Way(("float16",), "dot product", of("float16", dot)),
    Way(("int8",), "cosine", of("int8", cosine)),
    Way(("int8",), "dot product (do not use)", of("int8", dot)),
    Way(("uint8",), "cosine of value − 128", of("uint8", centred)),
    Way(("ubinary",), "Hamming distance", of("ubinary", hamming)),
    Way(
        ("ubinary", "int8"),
        f"the {CANDIDATES} nearest by Hamming distance, ranked by cosine of int8",
        ranked_again,
    ),
)


def best(scores: Scores, count: int) -> NDArray[np.intp]:
    """(texts, count) places, the nearest first."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


def recall(scores: Scores) -> float:
    """The share of texts whose image, of the same row, is among the first TOP; ties count last."""
    return float(((scores >= scores.diagonal()[:, None]).sum(axis=1) <= TOP).mean())


def overlap(scores: Scores, reference: Scores) -> float:
    """Share of the reference's TOP that are among the TOP of `scores`."""
    pairs = zip(best(scores, TOP).tolist(), best(reference, TOP).tolist(), strict=True)
    return float(np.mean([len(set(ours) & set(theirs)) / TOP for ours, theirs in pairs]))


def measure() -> list[Loss]:
    """Each of WAYS over both styles."""
    texts, galleries = captions("demo", "en"), {style: pictures(style) for style in STYLES}
    reference = {style: dot(texts, gallery) for style, gallery in galleries.items()}
    losses = []
    for way in WAYS:
        scores = {style: way.score(texts, gallery) for style, gallery in galleries.items()}
        losses.append(
            Loss(
                way,
                {style: recall(scores[style]) for style in STYLES},
                {style: overlap(scores[style], reference[style]) for style in STYLES},
            )
        )
    return losses


def table(losses: list[Loss]) -> Iterator[str]:
    """The lines of docs/vectors.md."""
    yield (
        "| `output_dtype` | search by | bytes at 256 | at 512 "
        "| R@10 Noto | Twemoji | top 10 kept, Noto | Twemoji |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for loss in losses:
        dtypes = " + ".join(f"`{dtype}`" for dtype in loss.way.dtypes)
        sizes = " | ".join(f"{size:,}" for size in loss.bytes_a_vector)
        figures = " | ".join(
            f"{figure[style]:.3f}" for figure in (loss.recall, loss.overlap) for style in STYLES
        )
        yield f"| {dtypes} | {loss.way.search} | {sizes} | {figures} |"


if __name__ == "__main__":
    print("\n".join(table(measure())))
