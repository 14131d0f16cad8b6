"""The vectors of a finished run, for looking at them: searched whole, without an index."""

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


@dataclass(frozen=True)
class Hit:
    """A row that was found, and its cosine."""

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
        """Raises BadOutput if there is no run in the folder."""
        folder = Location.of(uri)
        run = read_run_file(folder)
        if run is None:
            raise BadOutput(f"{uri}: no run here; `python -m bulk embed` writes one")
        settings = run.settings
        parts = OUTPUTS[str(settings["format"])](
            folder,
            settings["vector-type"],  # type: ignore[arg-type] # as it was written
            bool(settings["variable-lists"]),
        )
        return cls(folder, run, parts)

    def columns(self) -> Iterator[tuple[list[str], Column]]:
        """The ids and vectors of every part; the images' if there are any, else the texts'."""
        for shard in sorted(self.parts.done()):
            rows = self.parts.read(shard)
            if rows is None:
                raise BadOutput(f"{self.folder.uri}: this kind of output cannot be searched")
            column = rows.image or rows.text
            if column is not None:
                yield _ids(rows), column

    def search(self, queries: NDArray[np.float32], top: int) -> list[list[Hit]]:
        """For each row of `queries` (n, d), of unit norm, its `top` nearest rows, best first."""
        best: list[list[Hit]] = [[] for _ in queries]
        for ids, column in self.columns():
            vectors = column.vectors / np.maximum(
                np.linalg.norm(column.vectors, axis=1, keepdims=True), np.float32(1e-12)
            )
            cosines = queries @ vectors.T
            cosines[:, ~column.worked] = -np.inf
            for found, row in zip(best, cosines, strict=True):
                nearest = np.argsort(-row, kind="stable")[:top]
                found += [Hit(ids[at], float(row[at])) for at in nearest if np.isfinite(row[at])]
                found.sort(key=lambda hit: -hit.cosine)
                del found[top:]
        return best


def _ids(rows: EmbeddedRows) -> list[str]:
    column: pa.ChunkedArray = rows.kept.column(0)
    return [str(value) for value in column.to_pylist()]
