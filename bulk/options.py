"""The command line: its options, and the job that they describe."""

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from bulk.inputs.reader import Columns
from bulk.job import Job, ModelChoice
from bulk.outputs import OUTPUTS
from common.config import get_settings

MOST_THREADS = 256  # starting thousands takes minutes, and they only wait for each other
EPILOG = "To continue a run that was stopped, run the same command again."


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, without the list of all options."""

    def error(self, message: str) -> NoReturn:
        """Print the line and end the process."""
        self.exit(2, f"bulk: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    top = Parser(prog="python -m bulk", description=__doc__, epilog=EPILOG)
    commands = top.add_subparsers(dest="command", required=True)
    _embed(commands.add_parser("embed", help="embed every row of an input"))
    status = commands.add_parser("status", help="how far a run is, and what failed")
    status.add_argument("output", metavar="OUTPUT")
    search = commands.add_parser("search", help="find the rows nearest to a text")
    search.add_argument("output", metavar="OUTPUT")
    search.add_argument("query", metavar="TEXT")
    search.add_argument("--top", type=_positive, default=10, metavar="N")
    search.add_argument("--html", type=Path, metavar="FILE", help="write a page with the images")
    search.add_argument("--input", default="", metavar="INPUT", help="where the input is now")
    _model(search)
    compare = commands.add_parser("compare", help="how much two runs agree on queries")
    compare.add_argument("old", metavar="OLD")
    compare.add_argument("new", metavar="NEW")
    compare.add_argument(
        "--queries", type=Path, required=True, metavar="FILE", help="one text per line"
    )
    compare.add_argument("--top", type=_positive, default=10, metavar="N")
    _model(compare)
    return top


def _embed(embed: argparse.ArgumentParser) -> None:
    add = embed.add_argument
    add("input", metavar="INPUT", help="a folder, a file or a pattern; local or gs://")
    add("output", metavar="OUTPUT", help="a folder; local or gs://")
    add("--model", default="clip", metavar="NAME", help="a name, or ARCHITECTURE/PRETRAINED")
    _model(embed)
    add("--text-column", default="", metavar="C")
    add("--image-column", default="", metavar="C", help="URLs, gs://, paths, data: URLs or bytes")
    add("--id-column", default="", metavar="C")
    add("--keep", default="", metavar="C,C", help="columns that go into the output as they are")
    add("--format", choices=sorted(OUTPUTS), default="parquet")
    add("--vector-type", choices=("float32", "float16", "int8"), default="float32")
    add("--variable-lists", action="store_true", help="parquet lists of any size, for old readers")
    add("--shard-rows", type=_positive, default=10_000, metavar="N", help="rows per part")
    add("--max-failures", default="0", metavar="N|P%%", help="how many rows may fail")
    add("--retry-failed", action="store_true", help="retry rows whose error may be temporary")
    add(
        "--task",
        metavar="I/N",
        help="embed the shards of task I of N, from 0; default: Cloud Run's",
    )
    add("--ray", metavar="ADDRESS", help="a Ray cluster, or local")
    add("--dry-run", action="store_true", help="print what would be done")
    add("--limit", type=_positive, metavar="N", help="embed only the first N rows")


def _model(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--engine", default="auto", metavar="NAME")
    add("--precision", choices=("auto", "int8", "fp32", "fp16", "bf16"), default="auto")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--threads", type=_threads, metavar="N", help="compute threads; default: the cores")


def job_of(given: argparse.Namespace) -> Job:
    """The job from the options of `embed`. Downloads follow the function's settings."""
    settings = get_settings()
    return Job(
        input=given.input,
        output=given.output,
        columns=Columns(
            given.text_column,
            given.image_column,
            given.id_column,
            tuple(name for name in given.keep.split(",") if name),
        ),
        choice=replace(choice_of(given), model=given.model),
        format=given.format,
        vector_type=given.vector_type,
        is_variable=given.variable_lists,
        shard_rows=given.shard_rows,
        limit=given.limit,
        fetching=settings.fetching,
        policy=settings.policy,
    )


def choice_of(given: argparse.Namespace) -> ModelChoice:
    """The model from the options. Its weights come from where the settings say."""
    settings = get_settings()
    return ModelChoice(
        model=settings.model,
        engine=given.engine,
        precision=given.precision,
        device=given.device,
        preprocess=settings.preprocess,
        threads=given.threads,
        weights_dir=settings.weights_dir,
        weights_uri=settings.weights_uri,
        allow_download=settings.allow_download,
    )


def _threads(text: str) -> int:
    if (count := _positive(text)) > MOST_THREADS:
        raise argparse.ArgumentTypeError(f"{count:,} is more than {MOST_THREADS}")
    return count


def _positive(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)
