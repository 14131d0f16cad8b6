"""Compact vectors lose as much recall as the documents say."""

import re
from functools import cache

import numpy as np
import pytest

from tests.paths import ROOT
from tests.training.compact_vectors import Loss, cosine, hamming, measure, recall, table

measured = cache(measure)
FIGURES = re.compile(r"^\| `.*\d\.\d{3} \|$", re.MULTILINE)


def loss(dtype: str, search: str) -> Loss:
    (one,) = (
        one
        for one in measured()
        if one.way.dtypes == (dtype,) and one.way.search.startswith(search)
    )
    return one


def test_the_page_shows_what_is_measured_to_the_digit() -> None:
    page = (ROOT / "docs" / "vectors.md").read_text("utf-8")
    lines = list(table(measured()))
    assert "\n".join(lines) in page
    for path in (ROOT / "README.md", ROOT / "docs" / "protocols.md"):
        assert set(FIGURES.findall(path.read_text("utf-8"))) <= set(lines), (
            "a row that is shown elsewhere is one of these"
        )


@pytest.mark.parametrize("style", ["google", "twitter"])
def test_int8_and_uint8_keep_the_search_when_compared_by_cosine(style: str) -> None:
    exact = loss("float", "dot").recall[style]
    for way in (loss("int8", "cosine"), loss("uint8", "cosine")):
        assert way.recall[style] >= exact - 0.01
        assert way.overlap[style] >= 0.99
    assert loss("int8", "dot").overlap[style] < 0.9, (
        "each vector has a scale of its own, so a bare dot product misleads"
    )


def test_ubinary_finds_candidates_that_int8_puts_in_order() -> None:
    bits, again = loss("ubinary", "Hamming"), measured()[-1]
    assert bits.recall["google"] >= 0.99
    assert bits.recall["twitter"] >= 0.5
    assert again.recall["twitter"] >= loss("float", "dot").recall["twitter"] - 0.02
    assert again.overlap["twitter"] >= 0.95 > bits.overlap["twitter"]


def test_sizes_are_a_quarter_and_a_thirty_second() -> None:
    assert loss("float", "dot").bytes_a_vector == [1024, 2048]
    assert loss("int8", "cosine").bytes_a_vector == [256, 512]
    assert loss("ubinary", "Hamming").bytes_a_vector == [32, 64]


def test_the_measures_themselves() -> None:
    vectors = np.eye(16, dtype=np.float32)
    assert recall(vectors @ vectors.T) == 1
    assert recall(np.zeros((16, 16))) == 0, "of equals one's own is the last"
    bits = np.packbits(vectors > 0, axis=1)
    assert (hamming(bits, bits) == np.where(vectors > 0, 0, -2)).all()
    assert cosine(vectors * 3, vectors * 5)[0, 0] == pytest.approx(1)
