"""Processes that share an output folder as the tasks of one Cloud Run job do."""

import random
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pytest

from tests.bulk_runs import DEMO, assert_same, embed, images_in, start, table_of

COUNT, SHARD_ROWS = 56, 4
TASKS = 7
INDEXES = (*range(TASKS), 3)  # the platform may start a task twice


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pa.Table]:
    """The input, and what one uninterrupted run gives."""
    folder = tmp_path_factory.mktemp("tasks")
    source = images_in(folder / "in", COUNT)
    assert embed(source, folder / "out", "--shard-rows", SHARD_ROWS) == 0
    return source, table_of(folder / "out")


def test_eight_tasks_of_which_three_are_killed_give_every_row_once(
    alone: tuple[Path, pa.Table], tmp_path: Path
) -> None:
    source, expected = alone

    def task(index: int) -> "tuple[int, subprocess.Popen[str]]":
        environ = {"CLOUD_RUN_TASK_INDEX": str(index), "CLOUD_RUN_TASK_COUNT": str(TASKS)}
        run = ("embed", source, tmp_path, *DEMO, "--shard-rows", SHARD_ROWS, "--threads", 1)
        return index, start(*run, environ=environ)

    running = [task(index) for index in INDEXES]
    while not list(tmp_path.glob("part-*")):
        assert not any(process.poll() for _, process in running)
        time.sleep(0.05)
    for index, process in random.sample(running, 3):
        process.kill()
        process.communicate()
        running.remove((index, process))
        running.append(task(index))  # as the platform does
    for _, process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert_same(table_of(tmp_path), expected)
