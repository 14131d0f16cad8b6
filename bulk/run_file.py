"""The files `_run.json` and `_input.parquet`, which describe a run."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from bulk.inputs.reader import InputFile
from bulk.location import Location
from common.version import VERSION

NAME = "_run.json"
LISTING_NAME = "_input.parquet"
FORMAT = 1


@dataclass(frozen=True)
class RunFile:
    """Everything that must be the same when a run continues.

    `settings` are those that change rows or vectors. `listing` is a digest over the input's files
    with their sizes and rows.
    """

    model: str
    fingerprint: str
    dimensions: int
    input: str
    files: int
    rows: int
    listing: str
    shard_rows: int
    settings: Mapping[str, object]
    format: int = FORMAT
    version: str = VERSION

    def to_json(self) -> bytes:
        """The file's content."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_json(cls, data: bytes) -> "RunFile":
        """From the file's content. Raises ValueError."""
        try:
            return cls(**orjson.loads(data))
        except TypeError as error:
            raise ValueError("not a run file") from error

    def of_model(self, fingerprint: str, dimensions: int) -> "RunFile":
        """The same run file with the model's fingerprint and dimensions."""
        return replace(self, fingerprint=fingerprint, dimensions=dimensions)

    def differences(self, other: "RunFile") -> list[str]:
        """How `other` differs, in words. The version does not count."""
        ours, theirs = _flat(asdict(self)), _flat(asdict(other))
        names = [name for name in {**ours, **theirs} if name != "version"]
        return [
            f"{name} was {ours.get(name)!r} and is {theirs.get(name)!r}"
            for name in names
            if ours.get(name) != theirs.get(name)
        ]


def digest_of(files: Sequence[InputFile]) -> str:
    """16 hex digits that change with any file's path, size or rows."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(orjson.dumps([file.path, file.size_bytes, file.rows]))
    return digest.hexdigest()[:16]


def listing_to_parquet(files: Sequence[InputFile]) -> pa.Buffer:
    """The listing of the input's files, from which a later run can name a difference."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([asdict(file) for file in files]), sink)
    return sink.getvalue()


def listing_from_parquet(data: bytes) -> list[InputFile]:
    """The files from the content of a listing."""
    return [InputFile(**row) for row in pq.read_table(pa.BufferReader(data)).to_pylist()]


def listing_in(folder: Location) -> dict[str, InputFile]:
    """The listing in an output folder by paths. Empty if there is none that can be read."""
    try:
        files = listing_from_parquet(folder.child(LISTING_NAME).read())
    except (OSError, TypeError, pa.ArrowInvalid):
        return {}
    return {file.path: file for file in files}


def listing_difference(old: Sequence[InputFile], new: Sequence[InputFile]) -> str:
    """The first file that is new, missing or changed, in words, and how many more there are."""
    before, after = ({file.path: file for file in files} for files in (old, new))
    changed = [path for path in {**before, **after} if before.get(path) != after.get(path)]
    if not changed:
        return "the files have another order"
    first = changed[0]
    more = f", and {len(changed) - 1:,} more" if len(changed) > 1 else ""
    if first not in after:
        return f"{first} is missing{more}"
    if first not in before:
        return f"{first} is new{more}"
    was, now = before[first], after[first]
    return (
        f"{first} had {was.size_bytes:,} bytes and {was.rows:,} rows,"
        f" and has {now.size_bytes:,} and {now.rows:,}{more}"
    )


def _flat(values: Mapping[str, object]) -> dict[str, object]:
    settings = values["settings"]
    nested = settings if isinstance(settings, Mapping) else {}
    own = {name: value for name, value in values.items() if name != "settings"}
    return own | {f"--{name}": value for name, value in nested.items()}
