"""`python -m bulk embed | status | search | compare`: see docs/bulk.md."""

import argparse
import logging
import sys
from collections.abc import Sequence

from bulk import commands
from bulk.errors import BulkError
from bulk.options import parser
from common.errors import EmbeddingError
from common.logging import configure

INTERRUPTED = 130
FAILED = 1

log = logging.getLogger("bulk")


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 done, 3 done with more failed rows than allowed, 1 anything else."""
    configure("INFO")
    given = parser().parse_args(arguments)
    try:
        return run(given)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except (BulkError, EmbeddingError, ValueError) as error:
        print(f"bulk: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(
            f"bulk: {error.strerror or type(error).__name__}: {error.filename or ''}",
            file=sys.stderr,
        )
        return FAILED


def run(given: argparse.Namespace) -> int:
    """The command that was asked for."""
    command = {
        "embed": commands.embed,
        "status": commands.status,
        "search": commands.search,
        "compare": commands.compare,
    }[given.command]
    return command(given)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
