"""Lets one run alone begin in a folder, with nothing but whole files and listings.

A bucket cannot be asked to create a file only if it is new: pyarrow has no such option. So a run
writes a claim, then lists the folder, and gives up if it finds the claim or the run file of another
run. Of two runs, the one that lists last finds the other, so both never go on. If they are at the
same point, both give up. A claim names a run and not a process: tasks of one run share it, and if
they are killed, the same command goes on from it.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager

from bulk.errors import BadOutput
from bulk.location import Location
from bulk.run_file import RunFile

CLAIM = re.compile(r"_claim-[0-9a-f]{16}\.json")


@contextmanager
def claimed(folder: Location, run: RunFile) -> Iterator[None]:
    """Claim the folder until the run file is written in the `with` block.

    Raises BadOutput if another run claims it, OSError if it cannot be written to.
    """
    content = run.to_json()
    own = folder.child(f"_claim-{hashlib.sha256(content).hexdigest()[:16]}.json")
    own.write(content)
    try:
        for file in folder.files():
            if CLAIM.fullmatch(file.name) and file.name != own.name:
                _check(folder, folder.child(file.name), run)
        yield
    finally:
        own.remove()


def _check(folder: Location, claim: Location, run: RunFile) -> None:
    try:
        other = RunFile.from_json(claim.read())
    except FileNotFoundError:  # that run has given up, or its run file is there now
        return
    except ValueError as error:
        raise BadOutput(f"{claim.uri}: cannot be read as a run's claim; remove it") from error
    if differences := other.differences(run):
        what = "; ".join(differences)
        raise BadOutput(f"{folder.uri}: another run begins here: {what}; use another folder")
