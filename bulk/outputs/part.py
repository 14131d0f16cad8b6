"""The protocol of an output format, and the counts of a part."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from bulk.footer import footer_of
from bulk.location import Location
from bulk.rows import EmbeddedRows
from common.errors import ItemError
from common.quantization import OutputDtype, quantize

VectorType = Literal["float32", "float16", "int8"]
COUNTS = b"clip_counts"  # the key of a part's counts in the metadata of its parquet file
INT8_SCALE = 127.0  # the largest component of an int8 vector
ERROR = pa.struct([("code", pa.string()), ("detail", pa.string()), ("retryable", pa.bool_())])


@dataclass(frozen=True)
class Counts:
    """The rows of a part, and the failures by error code. `retryable` counts temporary failures."""

    rows: int
    failed: Mapping[str, int]
    retryable: int

    @classmethod
    def of(cls, rows: EmbeddedRows) -> "Counts":
        """The counts of embedded rows."""
        codes = Counter(error.code for error in rows.errors.values())
        retryable = sum(error.retryable for error in rows.errors.values())
        return cls(rows.count, dict(codes), retryable)

    def to_json(self) -> bytes:
        """The counts as a part stores them."""
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, data: bytes) -> "Counts":
        """From what a part stores."""
        return cls(**orjson.loads(data))

    @property
    def failures(self) -> int:
        """Rows that failed."""
        return sum(self.failed.values())


def counts_in(part: Location) -> Counts:
    """The counts in the metadata of a parquet file."""
    return Counts.from_json(footer_of(part).metadata[COUNTS])


class Parts(Protocol):
    """Writes the rows of a shard as one part, and finds the parts that exist."""

    def __init__(self, folder: Location, vector_type: VectorType, is_variable: bool) -> None: ...

    def done(self) -> dict[int, str]:
        """The shards that have parts, each with a stamp that changes when the part is rewritten."""
        ...

    def write(self, shard: int, rows: EmbeddedRows) -> None:
        """Write or replace a shard's part. A reader sees the whole part or nothing."""
        ...

    def counts(self, shard: int) -> Counts:
        """The counts of a part."""
        ...

    def read(self, shard: int) -> EmbeddedRows | None:
        """A part's rows. None if this format cannot be read back."""
        ...


def typed(vectors: NDArray[np.float32], vector_type: VectorType) -> NDArray[Any]:
    """The vectors in the output's type, one after another in memory."""
    dtype: OutputDtype = "float" if vector_type == "float32" else vector_type
    return np.ascontiguousarray(quantize(vectors, dtype))


def vector_array(
    vectors: NDArray[np.float32],
    worked: NDArray[np.bool_],
    vector_type: VectorType,
    is_variable: bool,
) -> pa.Array:
    """A column of vectors, as lists of fixed or variable size. Null where a row failed."""
    flat = pa.array(typed(vectors, vector_type).reshape(-1))
    missing = pa.array(~worked)
    if not is_variable:
        size = vectors.shape[1]
        return pa.FixedSizeListArray.from_arrays(flat, size, mask=missing)
    offsets = pa.array(np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1])
    return pa.ListArray.from_arrays(offsets, flat, mask=missing)


def error_array(errors: Mapping[int, ItemError], count: int) -> pa.Array:
    """The column of errors: a struct if the row failed, else null."""
    values = [as_dict(errors[row]) if row in errors else None for row in range(count)]
    return pa.array(values, ERROR)


def errors_of(column: pa.ChunkedArray) -> dict[int, ItemError]:
    """The failures in a column of errors, by row."""
    return {
        row: ItemError(row, "", error["code"], error["detail"], error["retryable"])
        for row, error in enumerate(column.to_pylist())
        if error is not None
    }


def floats(values: NDArray[Any]) -> NDArray[np.float32]:
    """The components as float32. int8 vectors are scaled so that the largest component is 1."""
    scale = INT8_SCALE if values.dtype == np.int8 else 1.0
    return values.astype(np.float32) / np.float32(scale)


def as_dict(error: ItemError) -> dict[str, object]:
    """The failure as it is written."""
    return {"code": error.code, "detail": error.detail, "retryable": error.retryable}
