"""Vectors as the caller asked for them: floats, or base64 of a compact type, row by row, little-endian."""

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import GetPydanticSchema
from pydantic_core.core_schema import any_schema

from common.models.spec import Vectors

EncodingFormat = Literal["float", "base64"]
OutputDtype = Literal["float", "float16", "int8", "uint8", "binary", "ubinary"]
Array = NDArray[np.float32] | NDArray[np.float16] | NDArray[np.int8] | NDArray[np.uint8]
_VECTOR = [{"type": "array", "items": {"type": "number"}}, {"type": "string"}]


def _documented_as(schema: dict[str, Any]) -> GetPydanticSchema:
    """For pydantic: a value that is written and never read, with its JSON schema."""
    return GetPydanticSchema(
        lambda _source, _handler: any_schema(), lambda _schema, _handler: schema
    )


Row = Annotated[Array | str | None, _documented_as({"anyOf": _VECTOR})]
Rows = Annotated[  # one row a vector
    Array | Sequence[Array | str | None],
    _documented_as({"type": "array", "items": {"anyOf": [*_VECTOR, {"type": "null"}]}}),
]


def quantize(vectors: Vectors, dtype: OutputDtype) -> Array:
    """`vectors`, (n, d), as (n, d) of `dtype`, or as (n, ceil(d / 8)) for the binary ones.

    int8 scales each vector by its own largest absolute value, so cosines are kept up to rounding; uint8 is int8 + 128;
    ubinary packs the signs, the first component in the highest bit; binary is ubinary - 128.
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


def encode(vectors: Vectors, encoding_format: EncodingFormat, dtype: OutputDtype) -> Rows:
    """Rows for the response: an array that is written as lists of numbers, or base64 strings."""
    rows = quantize(vectors, dtype)
    if encoding_format == "float":
        return rows
    return [base64.b64encode(row.tobytes()).decode("ascii") for row in rows]


def as_strings(vectors: Vectors, encoding: Literal["json", "base64"]) -> list[str]:
    """Each vector as one string: a JSON list of numbers, or base64 of its float32 bytes, little-endian."""
    if encoding == "base64":
        return [base64.b64encode(row.tobytes()).decode("ascii") for row in vectors]
    rows = np.ascontiguousarray(vectors)
    return [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY).decode("ascii") for row in rows]


def as_bytes(rows: Rows) -> bytes:
    """The rows one after the other, without those that are None."""
    parts = [row for row in rows if row is not None]
    return b"".join(
        base64.b64decode(part) if isinstance(part, str) else part.tobytes() for part in parts
    )


def spread(rows: Rows, indices: Sequence[int], count: int) -> Rows:
    """`rows` at their `indices` among `count` places, None elsewhere."""
    places: list[Array | str | None] = [None] * count
    for row, index in zip(rows, indices, strict=True):
        places[index] = row
    return places
