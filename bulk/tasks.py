"""The task number of this process, and how many tasks there are."""

import re
from collections.abc import Mapping

from bulk.errors import BulkError

TASK = re.compile(r"(\d{1,9})/(\d{1,9})")
INDEX, COUNT = "CLOUD_RUN_TASK_INDEX", "CLOUD_RUN_TASK_COUNT"  # set by Cloud Run jobs


def task_of(given: str | None, environ: Mapping[str, str]) -> tuple[int, int]:
    """The task's number, from 0, and the count of tasks: `given`, else what Cloud Run sets.

    Raises BulkError if the value is not valid.
    """
    text, name = given, "--task"
    if text is None:
        text = f"{environ.get(INDEX, '0')}/{environ.get(COUNT, '1')}"
        name = f"{INDEX}/{COUNT}"
    match = TASK.fullmatch(text)
    if not match or int(match[1]) >= int(match[2]):
        raise BulkError(f"{name} is {text!r}: must be I/N, with I from 0 to N - 1")
    return int(match[1]), int(match[2])
