"""Runs `python -m bulk`, in this process or another, and reads its output."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bulk.__main__ import main
from export.emoji import picture_at
from tests.paths import ROOT

DEMO = ("--model", "demo")


@contextmanager
def own_logging() -> Iterator[None]:
    """What the command line sets up for its process is undone."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def bulk(*arguments: object) -> int:
    """The exit status of a command, run in this process."""
    with own_logging():
        return main([str(argument) for argument in arguments])


def embed(source: object, output: object, *arguments: object) -> int:
    """The exit status of a run with the demo model."""
    return bulk("embed", source, output, *DEMO, *arguments)


def start(
    *arguments: object, environ: Mapping[str, str] | None = None, before: Sequence[str] = ()
) -> "subprocess.Popen[str]":
    """A command in a process of its own."""
    words = [*before, sys.executable, "-m", "bulk", *map(str, arguments)]
    return subprocess.Popen(
        words,
        cwd=ROOT,
        env={**os.environ, **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def images_in(folder: Path, count: int) -> Path:
    """A folder with so many different images."""
    folder.mkdir(parents=True)
    for index in range(count):
        (folder / f"{index:03}.png").write_bytes(picture_at(index))
    return folder


def rows_of(output: Path) -> list[dict[str, Any]]:
    """All rows of a run's parquet parts, in order."""
    rows: list[dict[str, Any]] = table_of(output).to_pylist()
    return rows


def table_of(output: Path) -> pa.Table:
    """The same as a table."""
    parts = sorted(output.glob("part-*.parquet"))
    return pa.concat_tables([pq.read_table(part) for part in parts])


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    """Row for row; vectors may differ by what a batch of another size rounds otherwise."""
    assert found.column(0).to_pylist() == expected.column(0).to_pylist()
    ours, theirs = (
        np.array(table.column("image_vector").to_pylist()) for table in (found, expected)
    )
    assert (ours * theirs).sum(axis=1).min() >= 0.99999
