"""Parquet parts with id, kept columns, vectors, `truncated` and `error`, a row per input row."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bulk.location import Location
from bulk.outputs.naming import parts_in
from bulk.outputs.part import (
    COUNTS,
    Counts,
    VectorType,
    counts_in,
    error_array,
    errors_of,
    floats,
    vector_array,
)
from bulk.rows import Column, EmbeddedRows

TEXT_VECTOR, IMAGE_VECTOR, TRUNCATED, ERROR = "text_vector", "image_vector", "truncated", "error"
ADDED = (TEXT_VECTOR, IMAGE_VECTOR, TRUNCATED, ERROR)
PART = re.compile(r"part-(\d{5,})\.parquet")


class ParquetParts:
    """`part-00000.parquet` and so on."""

    def __init__(self, folder: Location, vector_type: VectorType, is_variable: bool) -> None:
        self._folder = folder
        self._vector_type = vector_type
        self._is_variable = is_variable

    def done(self) -> dict[int, str]:
        """See Parts."""
        return parts_in(self._folder, PART)

    def write(self, shard: int, rows: EmbeddedRows) -> None:
        """See Parts."""
        table = rows.kept
        for name, column in ((TEXT_VECTOR, rows.text), (IMAGE_VECTOR, rows.image)):
            if column is not None:
                array = vector_array(
                    column.vectors, column.worked, self._vector_type, self._is_variable
                )
                table = table.append_column(name, array)
        table = table.append_column(TRUNCATED, pa.array(rows.truncated))
        table = table.append_column(ERROR, error_array(rows.errors, table.num_rows))
        metadata = {**(table.schema.metadata or {}), COUNTS: Counts.of(rows).to_json()}
        sink = pa.BufferOutputStream()
        # Vectors of floats do not compress, so building a dictionary for them would waste time.
        others = [name for name in table.column_names if name not in (TEXT_VECTOR, IMAGE_VECTOR)]
        pq.write_table(
            table.replace_schema_metadata(metadata), sink, compression="zstd", use_dictionary=others
        )
        self._part(shard).write(sink.getvalue())

    def counts(self, shard: int) -> Counts:
        """See Parts."""
        return counts_in(self._part(shard))

    def read(self, shard: int) -> EmbeddedRows:
        """See Parts."""
        table = pq.read_table(self._part(shard).open())
        text, image = (
            _column(table[name]) if name in table.column_names else None
            for name in (TEXT_VECTOR, IMAGE_VECTOR)
        )
        errors = errors_of(table[ERROR])
        truncated: NDArray[np.bool_] = table[TRUNCATED].to_numpy()
        kept = table.drop_columns([name for name in ADDED if name in table.column_names])
        return EmbeddedRows(
            kept.replace_schema_metadata(None), text, image, truncated.copy(), errors
        )

    def _part(self, shard: int) -> Location:
        return self._folder.child(f"part-{shard:05d}.parquet")


def _column(column: pa.ChunkedArray) -> Column:
    """The vectors as float32, with zeros for null."""
    array = column.combine_chunks()
    worked: NDArray[np.bool_] = array.is_valid().to_numpy(zero_copy_only=False)
    filled = array.drop_null().flatten().to_numpy(zero_copy_only=False)
    size = len(filled) // max(1, int(worked.sum()))
    vectors = np.zeros((len(worked), size), np.float32)
    if size:
        vectors[worked] = floats(filled.reshape(-1, size))
    return Column(vectors, worked)
