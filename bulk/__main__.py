"""The command line: `python -m bulk embed | status | search | compare`. See docs/bulk.md."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from bulk import commands
from bulk.errors import BulkError, reason_of
from bulk.options import parser
from common.environment import disable_telemetry
from common.errors import EmbeddingError
from common.logging import configure

INTERRUPTED = 130
FAILED = 1
COMMANDS: Mapping[str, Callable[..., int]] = {
    "embed": commands.embed,
    "status": commands.status,
    "search": commands.search,
    "compare": commands.compare,
}


def main(arguments: Sequence[str]) -> int:
    """Run a command. Returns the exit status.

    0: done, 3: more rows failed than allowed, 130: interrupted, 1: any other error.
    """
    try:
        given = parser().parse_args(arguments)
    except SystemExit as end:  # argparse ends with 2, which says nothing more than 1
        return FAILED if end.code else 0
    configure("INFO", stream=sys.stderr)
    disable_telemetry()
    try:
        return COMMANDS[given.command](given)
    except KeyboardInterrupt:
        print("interrupted; the same command continues from here", file=sys.stderr)
        return INTERRUPTED
    except (BulkError, EmbeddingError, ValueError) as error:
        return _failed(str(error))
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _failed(f"{reason_of(error)}{where}")


def _failed(message: str) -> int:
    print(f"bulk: {message.splitlines()[0]}", file=sys.stderr)
    return FAILED


def run() -> None:
    """Run the command line and end the process, without waiting for downloads in other threads."""
    pa.set_cpu_count(1)  # the encoder needs the cores
    status = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    run()
