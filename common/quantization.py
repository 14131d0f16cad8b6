"""Converts float32 vectors to smaller types."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from common.models.spec import Vectors

OutputDtype = Literal["float", "float16", "int8", "uint8", "binary", "ubinary"]
Array = NDArray[np.float32] | NDArray[np.float16] | NDArray[np.int8] | NDArray[np.uint8]


def quantize(vectors: Vectors, dtype: OutputDtype) -> Array:
    """Convert `vectors`, (n, d), to (n, d) of `dtype`; binary types have (n, ceil(d / 8)).

    int8 scales each vector by its own largest absolute value, which keeps cosines up to rounding.
    uint8 is int8 + 128. ubinary packs the signs, the first component in the highest bit.
    binary is ubinary - 128.
    """
    if dtype == "float":
        return vectors
    if dtype == "float16":
        return vectors.astype("<f2")
    if dtype in ("int8", "uint8"):
        largest = np.abs(vectors).max(axis=1, keepdims=True, initial=np.finfo(np.float32).tiny)
        scaled: NDArray[np.int16] = np.rint(vectors / largest * 127).astype(np.int16)
        return scaled.astype(np.int8) if dtype == "int8" else (scaled + 128).astype(np.uint8)
    packed = np.packbits(vectors > 0, axis=1)
    return packed if dtype == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)
