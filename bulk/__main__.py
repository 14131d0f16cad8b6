"""The command line: `python -m bulk embed | status | search | compare`. See docs/bulk.md."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from bulk import commands
from bulk.errors import BulkError, reason_of
from bulk.options import parser
from common.config import SettingsError
from common.environment import disable_telemetry
from common.errors import EmbeddingError
from common.logging import configure

INTERRUPTED = 130
FAILED = 1
MESSAGE_CHARS = 1000  # a message may quote a row of any length


def main(arguments: Sequence[str]) -> int:
    """Run a command. Returns the exit status.

    0: done, 3: more rows failed than allowed, 130: interrupted, 1: any other error, which is
    told in one line.
    """
    for argument in arguments:
        if any("\ud800" <= character <= "\udfff" for character in argument):
            return _failed(f"{argument!a} is not UTF-8; use another name")
    try:
        given = parser().parse_args(arguments)
    except SystemExit as end:  # argparse ends with 2, which says nothing more than 1
        return FAILED if end.code else 0
    configure("INFO", stream=sys.stderr)
    disable_telemetry()
    try:
        return _call(given)
    except KeyboardInterrupt:
        print("interrupted; the same command continues from here", file=sys.stderr)
        return INTERRUPTED
    except (BulkError, EmbeddingError, SettingsError, ValueError, pa.ArrowException) as error:
        return _failed(str(error))
    except MemoryError:
        return _failed("not enough memory; choose smaller --shard-rows, or a larger machine")
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _failed(f"{reason_of(error)}{where}")


def _call(given: argparse.Namespace) -> int:
    if given.command == "embed":
        return commands.embed(given)
    if given.command == "status":
        return commands.status(given)
    from bulk import search_commands  # Pillow too, which a run that is complete does not need

    return (
        search_commands.search(given)
        if given.command == "search"
        else search_commands.compare(given)
    )


def _failed(message: str) -> int:
    print(f"bulk: {' '.join(message.splitlines())[:MESSAGE_CHARS]}", file=sys.stderr)
    return FAILED


def run() -> None:
    """Run the command line and end the process, without waiting for downloads in other threads."""
    pa.set_cpu_count(1)  # the encoder needs the cores
    for number in (signal.SIGTERM, signal.SIGHUP):  # a platform stops a task, a terminal closes
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    nowhere = Path(os.devnull).open("w")  # noqa: SIM115 - until the process ends
    sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere  # they may be closed
    status = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:
        status = status or _failed(f"the results could not be printed: {reason_of(error)}")
    os._exit(status)


if __name__ == "__main__":
    run()
