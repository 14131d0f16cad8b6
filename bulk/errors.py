"""What ends a run before or while it works; each message is one line for a person."""


class BulkError(Exception):
    """A run that cannot start, or cannot go on."""


class BadInput(BulkError):
    """The input cannot be read as it was described: no rows, a missing column, an unknown format."""


class BadOutput(BulkError):
    """The output folder cannot be written to, or holds another run."""
