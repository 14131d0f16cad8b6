"""Encoding vectors: compact types and base64."""

import base64

import numpy as np
import pytest

from common.encoding import encode, spread
from common.quantization import OutputDtype, quantize

VECTORS = np.random.default_rng(7).normal(size=(20, 64)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_eight_bits_keep_cosines_and_use_the_whole_range(dtype: OutputDtype) -> None:
    rows = quantize(VECTORS, dtype).astype(np.float64) - (128 if dtype == "uint8" else 0)
    assert np.abs(rows).max(axis=1).tolist() == [127] * 20
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(rows @ rows.T, VECTORS @ VECTORS.T, atol=0.01)


def test_binary_packs_signs_first_component_highest() -> None:
    signs = np.array([[1, -1, 1, 1, -1, -1, -1, 1, 1]], np.float32)
    assert quantize(signs, "ubinary").tolist() == [[0b10110001, 0b10000000]]
    assert quantize(signs, "binary").tolist() == [[0b10110001 - 128, 0]]


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [("float", "<f4"), ("float16", "<f2"), ("int8", "i1"), ("uint8", "u1"), ("binary", "i1")],
)
def test_base64_holds_little_endian_rows(dtype: OutputDtype, stored: str) -> None:
    rows = encode(VECTORS, "base64", dtype)
    decoded = np.array([np.frombuffer(base64.b64decode(str(row)), stored) for row in rows])
    np.testing.assert_array_equal(decoded, quantize(VECTORS, dtype))


@pytest.mark.parametrize("dtype", ["float", "float16", "int8", "uint8", "binary", "ubinary"])
def test_no_vectors_are_no_rows(dtype: OutputDtype) -> None:
    assert len(quantize(np.empty((0, 8), np.float32), dtype)) == 0


def test_a_vector_of_zeros_stays_one() -> None:
    assert not quantize(np.zeros((1, 8), np.float32), "int8").any()


def test_spread_leaves_none_where_no_row_belongs() -> None:
    assert spread(["a", "b"], [1, 3], 4) == [None, "a", None, "b"]
