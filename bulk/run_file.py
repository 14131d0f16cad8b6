"""`_run.json`: what a run embeds with what, and the comparison that keeps two runs apart. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import orjson

from bulk.inputs.reader import InputFile
from common.version import VERSION

NAME = "_run.json"
FORMAT = 1


@dataclass(frozen=True)
class RunFile:
    """Everything that must be the same when a run goes on.

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
        """As it is written."""
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_json(cls, data: bytes) -> "RunFile":
        """As it was written. Raises ValueError."""
        try:
            return cls(**orjson.loads(data))
        except TypeError as error:
            raise ValueError("not a run file") from error

    def differences(self, other: "RunFile") -> list[str]:
        """What `other` has otherwise, in words; the version alone may differ."""
        ours, theirs = _flat(asdict(self)), _flat(asdict(other))
        names = [name for name in {**ours, **theirs} if name != "version"]
        return [
            f"{name} was {ours.get(name)!r} and is {theirs.get(name)!r}"
            for name in names
            if ours.get(name) != theirs.get(name)
        ]


def listing_of(files: Sequence[InputFile]) -> str:
    """16 hex digits that change with any file's path, size or rows."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(orjson.dumps([file.path, file.size_bytes, file.rows]))
    return digest.hexdigest()[:16]


def _flat(values: Mapping[str, object]) -> dict[str, object]:
    settings = values["settings"]
    nested = settings if isinstance(settings, Mapping) else {}
    own = {name: value for name, value in values.items() if name != "settings"}
    return own | {f"--{name}": value for name, value in nested.items()}
