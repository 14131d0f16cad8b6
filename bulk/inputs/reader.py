"""The protocols that a kind of input implements."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bulk.location import Location
from bulk.rows import Rows
from bulk.shards import Span


@dataclass(frozen=True)
class Columns:
    """The columns to read. An empty name means the input's column with a usual name.

    `text` and `image` name the columns to embed, `id` the one that identifies a row, `keep` those
    that go into the output as they are.
    """

    text: str = ""
    image: str = ""
    id: str = ""
    keep: Sequence[str] = ()


@dataclass(frozen=True)
class InputFile:
    """A file of the input: its path below the input's root, its size, and its rows.

    `modified_ns` is when it was changed, and 0 if that is not known. A copy is the same file.
    """

    path: str
    size_bytes: int
    rows: int
    modified_ns: int = field(default=0, compare=False)


# The input's files by their paths, as an earlier run saw them.
Listing = Callable[[], Mapping[str, InputFile]]


def no_listing() -> Mapping[str, InputFile]:
    """The listing if there was no earlier run."""
    return {}


class Reader(Protocol):
    """Reads the rows of one kind of input, in an order that only a change of its files changes."""

    @property
    def columns(self) -> Columns:
        """The columns that it reads, with usual names filled in."""
        ...

    @property
    def files(self) -> Sequence[InputFile]:
        """The files, in order."""
        ...

    @property
    def row_bytes(self) -> float:
        """About how much memory a row takes as `read` returns it."""
        ...

    def read(self, spans: Iterable[Span], first_row: int) -> Rows:
        """The rows of these spans; `first_row` is the number of the first in the whole input.

        May be called from several threads. Raises BadInput.
        """
        ...


class Format(Protocol):
    """A kind of input: which files it reads, and how it opens them."""

    @property
    def endings(self) -> Sequence[str]:
        """The endings of its files' names, in lower case."""
        ...

    def open(
        self, root: Location, files: Sequence[Location], columns: Columns, listing: Listing
    ) -> Reader:
        """A reader of these files. Raises BadInput."""
        ...
