"""A run: what is written, what is left, and its totals."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bulk.claims import CLAIM, claimed
from bulk.errors import BadOutput, reason_of
from bulk.inputs.reader import InputFile
from bulk.job import Job, OpenInput
from bulk.location import Location
from bulk.outputs.part import Counts
from bulk.run_file import (
    LISTING_NAME,
    NAME,
    RunFile,
    digest_of,
    listing_difference,
    listing_in,
    listing_to_parquet,
)


@dataclass(frozen=True)
class Totals:
    """The rows of parts, and their failures by code."""

    rows: int
    failed: Counter[str]
    retryable: int

    @classmethod
    def of(cls, counts: Iterable[Counts]) -> "Totals":
        """The sum of parts' counts."""
        rows, retryable = 0, 0
        failed: Counter[str] = Counter()
        for one in counts:
            rows += one.rows
            retryable += one.retryable
            failed.update(one.failed)
        return cls(rows, failed, retryable)

    @property
    def failures(self) -> int:
        """Rows that failed."""
        return self.failed.total()


def describe(job: Job, opened: OpenInput) -> RunFile:
    """The run file of a job. Its model's fingerprint is not known yet."""
    return RunFile(
        model=job.choice.model,
        fingerprint="",
        dimensions=0,
        input=Location.of(job.input).full_uri,
        files=len(opened.reader.files),
        rows=opened.shards.rows,
        listing=digest_of(opened.reader.files),
        shard_rows=job.shard_rows,
        settings=job.settings(opened.reader.columns),
    )


def read_run_file(folder: Location) -> RunFile | None:
    """The run file in an output folder; None if there is none. Raises BadOutput."""
    place = folder.child(NAME)
    try:
        return RunFile.from_json(place.read()) if place.info().is_file else None
    except (OSError, ValueError) as error:
        raise BadOutput(f"{place.uri}: cannot be read as a run file") from error


def check_apart(source: str, output: str) -> None:
    """Raises BadOutput if the output lies inside the folder that is read: parts would be input."""
    inside, folder = Location.of(output).real, Location.of(source)
    if (inside + "/").startswith(folder.real + "/") and not folder.info().is_file:
        raise BadOutput(f"{output}: lies inside the input {source}; use a folder outside of it")


def check_output(folder: Location, run: RunFile, files: Sequence[InputFile]) -> None:
    """Check that this run can use the folder. Writes nothing. Raises BadOutput."""
    try:
        folder.check_writable()
        there = read_run_file(folder) or _run_file_of_another_task(folder)
    except OSError as error:
        raise BadOutput(f"{folder.uri}: cannot be written to: {reason_of(error)}") from error
    if there is None:
        return
    if there.listing != run.listing:
        raise BadOutput(f"{folder.uri}: the input has changed: {_changed(folder, files)}")
    _refuse_differences(folder, there, run.of_model(there.fingerprint, there.dimensions))


def _run_file_of_another_task(folder: Location) -> RunFile | None:
    """The run file, if it was written just now. Raises BadOutput if the folder is someone else's.

    The files are listed first, because another task may write the run file and then its parts.
    """
    others = [name for file in folder.files() if not _is_ours(name := file.name)]
    there = read_run_file(folder)
    if there is None and others:
        raise BadOutput(
            f"{folder.uri}: the folder is not empty and holds no run; use another folder"
        )
    return there


def begin(folder: Location, run: RunFile, files: Sequence[InputFile]) -> None:
    """Write the run file. If there is one, check that this run would give the same vectors.

    Raises BadOutput if it would not, or if the folder cannot be written to.
    """
    if read_run_file(folder) is not None:
        check_run(folder, run)
        folder.sweep()
        return
    try:
        with claimed(folder, run):
            check_run(folder, run)
            folder.child(LISTING_NAME).write(listing_to_parquet(files))
            folder.child(NAME).write(run.to_json())
    except OSError as error:
        raise BadOutput(f"{folder.uri}: cannot be written to: {reason_of(error)}") from error


def check_run(folder: Location, run: RunFile) -> None:
    """Check that this run would give the vectors that are in the folder. Raises BadOutput."""
    there = read_run_file(folder)
    if there is not None:
        _refuse_differences(folder, there, run)


def _refuse_differences(folder: Location, there: RunFile, run: RunFile) -> None:
    differences = there.differences(run)
    if differences:
        what = "; ".join(differences)
        raise BadOutput(f"{folder.uri}: holds another run: {what}; use another folder")


def _is_ours(name: str) -> bool:
    """Whether the file may be left from a run that was killed at its start."""
    return name == LISTING_NAME or name.startswith(".") or bool(CLAIM.fullmatch(name))


def _changed(folder: Location, files: Sequence[InputFile]) -> str:
    old = listing_in(folder)
    if not old:
        return f"{LISTING_NAME} cannot be read, so the files cannot be named"
    return listing_difference([*old.values()], files)
