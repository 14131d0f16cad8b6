"""The formats of the output.

A new kind is one module with a class that fulfils `Parts`, and one entry in `OUTPUTS`.
"""

from collections.abc import Mapping

from bulk.outputs.npy import NpyParts
from bulk.outputs.parquet import ParquetParts
from bulk.outputs.part import Parts
from bulk.outputs.vertex import VertexParts

OUTPUTS: Mapping[str, type[Parts]] = {
    "parquet": ParquetParts,
    "npy": NpyParts,
    "vertex": VertexParts,
}
