"""Searches the vectors of a run's output, without an index."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bulk.errors import BadOutput
from bulk.location import Location
from bulk.outputs import OUTPUTS
from bulk.outputs.part import Parts
from bulk.rows import Column, EmbeddedRows
from bulk.run import read_run_file
from bulk.run_file import RunFile

TINY = np.float32(1e-12)


@dataclass(frozen=True)
class Hit:
    """A row that was found: its number in the whole input, its id, its cosine."""

    row: int
    id: str
    cosine: float


@dataclass(frozen=True)
class Output:
    """The output folder of a run."""

    folder: Location
    run: RunFile
    parts: Parts

    @classmethod
    def open(cls, uri: str) -> "Output":
        """Open an output folder. Raises BadOutput if it has no run."""
        folder = Location.of(uri)
        run = read_run_file(folder)
        if run is None:
            raise BadOutput(f"{uri}: no run here; `python -m bulk embed` writes one")
        settings = run.settings
        parts = OUTPUTS[str(settings["format"])](
            folder,
            settings["vector-type"],  # type: ignore[arg-type] # from the run file
            bool(settings["variable-lists"]),
        )
        return cls(folder, run, parts)

    def search(self, queries: NDArray[np.float32], top: int) -> list[list[Hit]]:
        """For each row of `queries` (n, d), of unit norm, its `top` nearest rows, best first.

        Searches the images' vectors if there are any, else the texts'. Raises BadOutput if this
        format cannot be read back.
        """
        best: list[list[Hit]] = [[] for _ in queries]
        for start, ids, column in self._columns():
            norms = np.linalg.norm(column.vectors, axis=1, keepdims=True)
            cosines = queries @ (column.vectors / np.maximum(norms, TINY)).T
            cosines[:, ~column.worked] = -np.inf
            for found, row in zip(best, cosines, strict=True):
                nearest = [int(at) for at in np.argsort(-row, kind="stable")[:top]]
                found += [
                    Hit(start + at, ids[at], float(row[at]))
                    for at in nearest
                    if np.isfinite(row[at])
                ]
                found.sort(key=lambda hit: -hit.cosine)
                del found[top:]
        return best

    def _columns(self) -> Iterator[tuple[int, list[str], Column]]:
        """For every part: the number of its first row, its ids, its vectors."""
        for shard in sorted(self.parts.done()):
            rows = self.parts.read(shard)
            if rows is None:
                raise BadOutput(f"{self.folder.uri}: output of this format cannot be searched")
            column = rows.image or rows.text
            if column is not None and column.worked.any():
                yield shard * self.run.shard_rows, _ids(rows), column


def _ids(rows: EmbeddedRows) -> list[str]:
    column: pa.ChunkedArray = rows.kept.column(0)
    return [str(value) for value in column.to_pylist()]
