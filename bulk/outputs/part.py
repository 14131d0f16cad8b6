"""What a kind of output must give, and what is known of a part that was written."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from bulk.location import Location
from bulk.rows import EmbeddedRows
from common.errors import ItemError
from common.quantization import quantize

VectorType = Literal["float32", "float16", "int8"]
COUNTS = b"clip_counts"  # the key of a part's counts in the metadata of its parquet file
ERROR = pa.struct([("code", pa.string()), ("detail", pa.string()), ("retryable", pa.bool_())])


@dataclass(frozen=True)
class Counts:
    """A part's rows, and its failures by error code; `retryable` of them may work when tried again."""

    rows: int
    failed: Mapping[str, int]
    retryable: int

    @classmethod
    def of(cls, rows: EmbeddedRows) -> "Counts":
        """Of embedded rows."""
        codes = Counter(error.code for error in rows.errors.values())
        retryable = sum(error.retryable for error in rows.errors.values())
        return cls(rows.kept.num_rows, dict(codes), retryable)

    def to_json(self) -> bytes:
        """As it is written into a part."""
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, data: bytes) -> "Counts":
        """As it was written."""
        return cls(**orjson.loads(data))

    @property
    def failures(self) -> int:
        """Rows that failed."""
        return sum(self.failed.values())


class Parts(Protocol):
    """Writes the rows of a shard as one part, and finds the parts that are there."""

    def __init__(self, folder: Location, vector_type: VectorType, is_variable: bool) -> None: ...

    def done(self) -> set[int]:
        """The shards whose parts are there."""
        ...

    def write(self, shard: int, rows: EmbeddedRows) -> None:
        """Write a shard's part, replacing one that is there. A reader sees all of it or nothing."""
        ...

    def counts(self, shard: int) -> Counts:
        """What is known of a part."""
        ...

    def errors(self, shard: int) -> dict[int, ItemError]:
        """The rows of a part that failed."""
        ...

    def merge(self, shard: int, rows: EmbeddedRows, places: list[int]) -> None:
        """Write a part again, with `rows` at the `places` of rows that were tried again."""
        ...


def vector_array(
    vectors: NDArray[np.float32],
    worked: NDArray[np.bool_],
    vector_type: VectorType,
    is_variable: bool,
) -> pa.Array:
    """A column of vectors: lists of fixed size, or of any; null where a row failed."""
    dtype = "float" if vector_type == "float32" else vector_type
    values = np.ascontiguousarray(quantize(vectors, dtype))
    flat = pa.array(values.reshape(-1))
    missing = pa.array(~worked)
    if not is_variable:
        size = vectors.shape[1]
        return pa.FixedSizeListArray.from_arrays(flat, size, mask=missing)
    offsets = pa.array(np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1])
    return pa.ListArray.from_arrays(offsets, flat, mask=missing)


def error_array(errors: Mapping[int, ItemError], count: int) -> pa.Array:
    """The column of errors: a struct where a row failed, else null."""
    values = [_as_dict(errors.get(row)) for row in range(count)]
    return pa.array(values, ERROR)


def _as_dict(error: ItemError | None) -> dict[str, object] | None:
    if error is None:
        return None
    return {"code": error.code, "detail": error.detail, "retryable": error.retryable}
