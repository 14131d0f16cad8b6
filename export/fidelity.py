"""The fidelity gate compares a bundle's vectors with the torch reference's, over a fixed set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw

from common.allowance import Allowance
from common.images.decode import prepare
from common.images.limits import DecodeLimits
from common.models.bundle import BundlePrecision, Fidelity
from common.models.preprocess import Picture, preprocess
from common.models.spec import Encoder, Pixels, Preprocessing, Vectors
from export import emoji

Item = TypeVar("Item")

BATCH = 16
FEW = 24  # emoji of the set for random weights, whose ranking is noise
RANKED = 160  # emoji of the evaluation set; their names are ranked against their images
TOP = 10
NEIGHBOURS_FLOOR = 0.9995
OVERLAP_FLOOR = 0.9


@dataclass(frozen=True)
class Floor:
    """The cosines to the reference that a tower must reach to pass the gate in a precision."""

    cosine_min: float
    cosine_mean: float


FLOORS: dict[BundlePrecision, Floor] = {"fp32": Floor(0.99999, 0.99999), "int8": Floor(0.98, 0.995)}


def evaluation_texts(ranked: int = RANKED) -> list[str]:
    """The texts of the evaluation set.

    They are the English names of the ranked emoji, names in other languages, and texts of many
    kinds and lengths.
    """
    entries = emoji.names()[:ranked]
    rounds = 1 if ranked == FEW else 4
    others = [entries[place][language] for place, language in enumerate(emoji.LANGUAGES * rounds)]
    kinds = [
        "a photo of a cat",
        "A Very LOUD Sentence, with punctuation!!! (and brackets) #hashtag @name 12,345.67",
        "two dogs playing on a beach at sunset, oil painting, highly detailed",
        "&lt;b&gt;HTML&lt;/b&gt; &amp; entities",
        "naïve café, Straße, smørrebrød, żółw",
        "🦊🍕🎸🚀",
        "x",
        "",
        "supercalifragilisticexpialidocious" * 3,
        "many words, and more of them, " * 4,
        "a text that is longer than any context, " * 120,
        "很长的文字，比任何上下文都要长，" * 120,
    ]
    return [entry["en"] for entry in entries] + others + kinds


def evaluation_images(preprocessing: Preprocessing, ranked: int = RANKED) -> list[Pixels]:
    """The images of the evaluation set: the ranked emoji, then drawn and random images."""
    pictures = [
        prepare(emoji.picture_at(place), preprocessing, DecodeLimits(), Allowance())
        for place in range(ranked)
    ]
    return pictures + [preprocess(Picture(image, image.size), preprocessing) for image in _drawn()]


@cache
def _drawn() -> list[Image.Image]:
    random = np.random.default_rng(7)
    images = [Image.new("RGB", (300, 200), colour) for colour in ("black", "white", "navy")]
    for size in ((64, 64), (640, 480), (200, 700)):
        noise = random.integers(0, 256, (size[1] // 8, size[0] // 8, 3)).astype(np.uint8)
        images += [
            Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC),
            Image.fromarray(noise),
        ]
    for count in (3, 20):
        image = Image.new("RGB", (320, 240), "skyblue")
        draw = ImageDraw.Draw(image)
        for _ in range(count):
            left, top = (int(value) for value in random.integers(0, 240, 2))
            colour = tuple(int(value) for value in random.integers(0, 256, 3))
            draw.ellipse((left, top, left + 60, top + 40), fill=colour)
        draw.text((20, 100), "a red sign", fill="red")
        images += [image, image.convert("L").convert("RGB")]
    ramp = np.linspace(0, 255, 256, dtype=np.uint8)
    across = np.tile(ramp, (256, 1))
    down = np.tile(ramp[:, None], (1, 256))
    images.append(Image.fromarray(np.stack([across, down, across], axis=-1)))
    return images


def encode_all(
    encoder: Encoder[Item], items: Sequence[Item], done: Callable[[int], object]
) -> Vectors:
    """Encode all items in batches: (n, dimensions). `done` gets the size of each finished batch."""
    rows = []
    for start in range(0, len(items), BATCH):
        rows.append(encoder.encode(items[start : start + BATCH]))
        done(len(rows[-1]))
    return np.concatenate(rows)


def compare(
    encoder: Encoder[Item], items: Sequence[Item], vectors: Vectors, reference: Vectors
) -> Fidelity:
    """Compare the `vectors` that `encoder` gave for `items` with the reference's.

    Some items are encoded again, alone and in a mixed batch, to measure the influence of the batch.
    """
    cosines = np.sum(vectors * reference, axis=1, dtype=np.float64)
    places = np.linspace(0, len(items) - 1, 24).astype(int)
    alone = np.concatenate([encoder.encode([items[place]]) for place in places])
    mixed = encoder.encode([items[place] for place in places])
    return Fidelity(
        cosine_min=round(float(cosines.min()), 7),
        cosine_mean=round(float(cosines.mean()), 7),
        neighbours_min=round(float(np.sum(alone * mixed, axis=1, dtype=np.float64).min()), 7),
        largest_difference=float(f"{np.abs(vectors - reference).max():.2e}"),
    )


def overlap(
    texts: Vectors,
    images: Vectors,
    reference_texts: Vectors,
    reference_images: Vectors,
    ranked: int = RANKED,
) -> float:
    """The share of images in each ranked text's TOP that the bundle and the reference agree on."""

    def best(queries: Vectors, gallery: Vectors) -> list[set[int]]:
        ranking = np.argsort(-(queries[:ranked] @ gallery.T), axis=1, kind="stable")[:, :TOP]
        return [set(row.tolist()) for row in ranking]

    pairs = zip(best(texts, images), best(reference_texts, reference_images), strict=True)
    return round(float(np.mean([len(ours & theirs) / TOP for ours, theirs in pairs])), 4)


def refusal(precision: BundlePrecision, fidelity: Fidelity, overlap: float | None) -> str:
    """Why a tower fails the gate in this precision; empty if it passes.

    `overlap` is None if the weights are random: the ranking of their vectors is noise.
    """
    floor = FLOORS[precision]
    checks: tuple[tuple[str, float, float], ...] = (
        ("its smallest cosine to the reference", fidelity.cosine_min, floor.cosine_min),
        ("its mean cosine to the reference", fidelity.cosine_mean, floor.cosine_mean),
        ("an item's cosine alone and in a batch", fidelity.neighbours_min, NEIGHBOURS_FLOOR),
    )
    if overlap is not None:
        checks += ((f"the overlap of the top {TOP}", overlap, OVERLAP_FLOOR),)
    failed = [
        f"{name} is {value:.5f}, the floor is {limit}"
        for name, value, limit in checks
        if not value >= limit
    ]
    return "; ".join(failed)
