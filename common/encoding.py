"""Encodes vectors for a response: as numbers, or as base64 of little-endian bytes per row."""

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from pydantic import GetPydanticSchema
from pydantic_core.core_schema import any_schema

from common.models.spec import Vectors
from common.quantization import Array, OutputDtype, quantize

EncodingFormat = Literal["float", "base64"]
_VECTOR = [{"type": "array", "items": {"type": "number"}}, {"type": "string"}]


def _documented_as(schema: dict[str, Any]) -> GetPydanticSchema:
    """Give pydantic the JSON schema of a value that is only written, never validated."""
    return GetPydanticSchema(
        lambda _source, _handler: any_schema(), lambda _schema, _handler: schema
    )


Row = Annotated[Array | str | None, _documented_as({"anyOf": _VECTOR})]
Rows = Annotated[  # one row per vector
    Array | Sequence[Array | str | None],
    _documented_as({"type": "array", "items": {"anyOf": [*_VECTOR, {"type": "null"}]}}),
]


def encode(vectors: Vectors, encoding_format: EncodingFormat, dtype: OutputDtype) -> Rows:
    """Encode vectors for the response: as an array of `dtype`, or as one base64 string each."""
    rows = quantize(vectors, dtype)
    if encoding_format == "float":
        return rows
    return [base64.b64encode(row.tobytes()).decode("ascii") for row in rows]


def as_strings(vectors: Vectors, encoding: Literal["json", "base64"]) -> list[str]:
    """Encode each vector as one string.

    It is a JSON list of numbers, or base64 of the little-endian float32 bytes.
    """
    if encoding == "base64":
        return [base64.b64encode(row.tobytes()).decode("ascii") for row in vectors]
    rows = np.ascontiguousarray(vectors)
    return [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY).decode("ascii") for row in rows]


def as_bytes(rows: Rows) -> bytes:
    """Concatenate the bytes of all rows, leaving out those that are None."""
    parts = [row for row in rows if row is not None]
    return b"".join(
        base64.b64decode(part) if isinstance(part, str) else part.tobytes() for part in parts
    )


def spread(rows: Rows, indices: Sequence[int], count: int) -> Rows:
    """Put `rows` at their `indices` in a list of `count` places; the other places are None."""
    places: list[Array | str | None] = [None] * count
    for row, index in zip(rows, indices, strict=True):
        places[index] = row
    return places
