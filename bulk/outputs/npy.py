"""The layout that clip-retrieval's index builder reads: folders of .npy and metadata parts.

`img_emb/img_emb_0.npy`, `text_emb/text_emb_0.npy` and `metadata/metadata_0.parquet`. A row that
failed has a zero vector, and its error is in the metadata, which is written last.
"""

import io
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
    typed,
)
from bulk.rows import Column, EmbeddedRows

METADATA = re.compile(r"metadata_(\d+)\.parquet")
KINDS = (("text", "text_emb"), ("image", "img_emb"))
WORKED = "{kind}_embedded"


class NpyParts:
    """A part is one file in each folder."""

    def __init__(self, folder: Location, vector_type: VectorType, is_variable: bool) -> None:  # noqa: ARG002
        self._folder = folder
        self._vector_type = vector_type

    def done(self) -> dict[int, str]:
        """See Parts."""
        return parts_in(self._folder.child("metadata"), METADATA)

    def write(self, shard: int, rows: EmbeddedRows) -> None:
        """See Parts. The metadata is written last; without it, a part does not exist yet."""
        table = rows.kept
        for (kind, name), column in zip(KINDS, (rows.text, rows.image), strict=True):
            if column is not None:
                self._vectors(name, shard).write(self._npy(column.vectors))
                table = table.append_column(WORKED.format(kind=kind), pa.array(column.worked))
        table = table.append_column("truncated", pa.array(rows.truncated))
        table = table.append_column("error", error_array(rows.errors, table.num_rows))
        sink = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata({COUNTS: Counts.of(rows).to_json()}), sink)
        self._metadata(shard).write(sink.getvalue())

    def counts(self, shard: int) -> Counts:
        """See Parts."""
        return counts_in(self._metadata(shard))

    def read(self, shard: int) -> EmbeddedRows:
        """See Parts."""
        table = pq.read_table(self._metadata(shard).open())
        columns: list[Column | None] = []
        added = ["truncated", "error"]
        for kind, name in KINDS:
            flag = WORKED.format(kind=kind)
            if flag not in table.column_names:
                columns.append(None)
                continue
            added.append(flag)
            vectors = np.load(io.BytesIO(self._vectors(name, shard).read()))
            columns.append(Column(floats(vectors), table[flag].to_numpy().copy()))
        errors = errors_of(table["error"])
        kept = table.drop_columns(added).replace_schema_metadata(None)
        text, image = columns
        truncated = table["truncated"].to_numpy().copy()
        return EmbeddedRows(kept, text, image, truncated, errors)

    def _npy(self, vectors: NDArray[np.float32]) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, typed(vectors, self._vector_type))
        return buffer.getvalue()

    def _vectors(self, name: str, shard: int) -> Location:
        return self._folder.child(name).child(f"{name}_{shard}.npy")

    def _metadata(self, shard: int) -> Location:
        return self._folder.child("metadata").child(f"metadata_{shard}.parquet")
