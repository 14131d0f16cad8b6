"""Which task of how many this process is."""

import re
from collections.abc import Mapping

from bulk.errors import BulkError

TASK = re.compile(r"(\d{1,9})/(\d{1,9})")
INDEX, COUNT = "CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT"  # set by Cloud Run jobs


def task_of(given: str | None, environ: Mapping[str, str]) -> tuple[int, int]:
    """The number of the task, from 0, and how many there are: as given, else as Cloud Run says.

    Raises BulkError if that is no task.
    """
    text, name = given, "--task"
    if text is None:
        text = f"{environ.get(INDEX, '0')}/{environ.get(COUNT, '1')}"
        name = f"{INDEX}/{COUNT}"
    match = TASK.fullmatch(text)
    if not match or int(match[1]) >= int(match[2]):
        raise BulkError(f"{name} is {text!r}: must be I/N, with I from 0 to N - 1")
    return int(match[1]), int(match[2])
