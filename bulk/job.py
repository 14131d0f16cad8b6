"""A run as values: the input, the model and the output. It can be sent to other processes."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from pyarrow import fs

from bulk.inputs import open_input
from bulk.inputs.reader import Columns, Reader
from bulk.inputs.source import BucketSource, InputSource
from bulk.location import Location
from bulk.outputs import OUTPUTS
from bulk.outputs.part import Parts, VectorType
from bulk.run_file import listing_in
from bulk.shards import Shards
from common.batcher import BatchLimits
from common.embedder import Embedder
from common.images.limits import DecodeLimits, FetchLimits
from common.images.url_policy import UrlPolicy
from common.machine import WEIGHTS_DIR
from common.opening import open_embedder

ALL_ITEMS = 1_000_000  # never refuse a call: the worker bounds how many run at a time


@dataclass(frozen=True)
class ModelChoice:
    """The model, and how it runs. See `common.open_embedder`."""

    model: str = "clip"
    engine: str = "auto"
    precision: str = "auto"
    device: str = "auto"
    preprocess: str = "corrected"
    threads: int | None = None
    weights_dir: Path = WEIGHTS_DIR
    weights_uri: str = ""
    allow_download: bool = True


@dataclass(frozen=True)
class Job:
    """One run. `policy` says which addresses image URLs may lead to."""

    input: str
    output: str
    columns: Columns = field(default_factory=Columns)
    choice: ModelChoice = field(default_factory=ModelChoice)
    format: str = "parquet"
    vector_type: VectorType = "float32"
    is_variable: bool = False
    shard_rows: int = 10_000
    limit: int | None = None
    fetching: FetchLimits = field(default_factory=FetchLimits)
    policy: UrlPolicy = field(default_factory=UrlPolicy)

    def settings(self, columns: Columns) -> dict[str, object]:
        """The settings that change rows or vectors, by option name. `columns` are the reader's."""
        choice = asdict(self.choice)
        vectors = {name: choice[name] for name in ("precision", "preprocess")}
        return vectors | {
            "text-column": columns.text,
            "image-column": columns.image,
            "id-column": columns.id,
            "keep": ",".join(columns.keep),
            "format": self.format,
            "vector-type": self.vector_type,
            "variable-lists": self.is_variable,
            "limit": self.limit,
        }

    def parts(self) -> Parts:
        """The parts in the output folder."""
        return OUTPUTS[self.format](Location.of(self.output), self.vector_type, self.is_variable)

    def open_input(self) -> "OpenInput":
        """The input's reader and its shards. Raises BadInput."""
        root, reader = open_input(
            self.input, self.columns, lambda: listing_in(Location.of(self.output))
        )
        counts = [file.rows for file in reader.files]
        if self.limit is not None:
            counts = _limited(counts, self.limit)
        return OpenInput(root, reader, Shards(counts, self.shard_rows))

    def open_embedder(self, root: Location) -> Embedder:
        """The embedder, which also reads images below the input's root."""
        choice = self.choice
        return open_embedder(
            choice.model,
            engine=choice.engine,
            precision=choice.precision,  # type: ignore[arg-type] # argparse has checked it
            device=choice.device,  # type: ignore[arg-type]
            preprocess=choice.preprocess,  # type: ignore[arg-type]
            threads=choice.threads,
            weights_dir=choice.weights_dir,
            weights_uri=choice.weights_uri,
            allow_download=choice.allow_download,
            batches=BatchLimits(max_queue_items=ALL_ITEMS),
            fetching=self.fetching,
            decoding=DecodeLimits(),
            policy=self.policy,
            sources=(
                InputSource(root, self.fetching.max_bytes),
                BucketSource(self.fetching.max_bytes),
            ),
        )


@dataclass(frozen=True)
class OpenInput:
    """An open input: its root, its reader and its shards."""

    root: Location
    reader: Reader
    shards: Shards

    def is_there(self) -> bool:
        """Whether the input still exists."""
        try:
            return bool(self.root.info().type != fs.FileType.NotFound)
        except OSError:
            return False


def _limited(counts: list[int], limit: int) -> list[int]:
    """The rows of each file, up to `limit` rows in total."""
    left, limited = limit, []
    for count in counts:
        limited.append(min(count, left))
        left -= limited[-1]
    return limited
