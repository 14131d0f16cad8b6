"""The errors that end a run. Each message is one line for a person."""


class BulkError(Exception):
    """A run cannot start, or cannot continue."""


class BadInput(BulkError):
    """The input cannot be read as described: no rows, a missing column, an unknown format."""


class BadOutput(BulkError):
    """The output folder cannot be written to, or holds another run."""


def reason_of(error: OSError) -> str:
    """Why a file could not be read or written, in one line."""
    text = error.strerror or str(error) or type(error).__name__
    return text.splitlines()[0][:300]
