"""JSON Lines that Vertex AI Vector Search imports: `{"id": …, "embedding": […]}`.

Vector Search takes one vector per row, so rows that failed go to `_errors/` instead. A row with
both a text and an image gives two lines, `<id>#text` and `<id>#image`.
"""

import re

import orjson

from bulk.location import Location
from bulk.outputs.naming import parts_in
from bulk.outputs.part import Counts, VectorType, as_dict, typed
from bulk.rows import Column, EmbeddedRows

PART = re.compile(r"part-(\d{5,})\.json")


class VertexParts:
    """Vectors go to `part-00000.json`, failed rows to `_errors/part-00000.json`."""

    def __init__(self, folder: Location, vector_type: VectorType, is_variable: bool) -> None:  # noqa: ARG002
        self._folder = folder
        self._vector_type = vector_type

    def done(self) -> dict[int, str]:
        """See Parts."""
        return parts_in(self._folder, PART)

    def write(self, shard: int, rows: EmbeddedRows) -> None:
        """See Parts. The vectors are written last; without them, a part does not exist yet."""
        ids = [str(value) for value in rows.kept.column(0).to_pylist()]
        both = rows.text is not None and rows.image is not None
        lines: list[bytes] = []
        for kind, column in (("text", rows.text), ("image", rows.image)):
            if column is not None:
                suffix = f"#{kind}" if both else ""
                lines += self._lines(ids, suffix, column)
        failed = [
            orjson.dumps({"row": row, "id": ids[row], **as_dict(error)})
            for row, error in sorted(rows.errors.items())
        ]
        head = Counts.of(rows).to_json()
        self._errors(shard).write(b"\n".join([head, *failed]) + b"\n")
        self._part(shard).write(b"\n".join(lines) + b"\n" if lines else b"")

    def counts(self, shard: int) -> Counts:
        """See Parts."""
        head, _, _ = self._errors(shard).read().partition(b"\n")
        return Counts.from_json(head)

    def read(self, shard: int) -> EmbeddedRows | None:  # noqa: ARG002
        """See Parts. Always None: the position of a row is not written."""
        return None

    def _lines(self, ids: list[str], suffix: str, column: Column) -> list[bytes]:
        vectors = typed(column.vectors, self._vector_type)
        return [
            orjson.dumps({"id": f"{one}{suffix}", "embedding": vector.tolist()})
            for one, vector, worked in zip(ids, vectors, column.worked, strict=True)
            if worked
        ]

    def _part(self, shard: int) -> Location:
        return self._folder.child(f"part-{shard:05d}.json")

    def _errors(self, shard: int) -> Location:
        return self._folder.child("_errors").child(f"part-{shard:05d}.json")
