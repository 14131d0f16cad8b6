"""docs/bigquery.md: the SQL is GoogleSQL, settings fit the function, figures are measured."""

import ast
import re

import pytest
import sqlglot
from sqlglot import exp

from common.config import Settings
from functions.bigquery import MAX_ANSWER_BYTES, Context
from functions.schemas import MAX_IMAGES, MAX_TEXT_CHARS
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "bigquery.md").read_text("utf-8")
SETTINGS = Settings.from_env({})
MEASURED = (ROOT / "docs" / "performance.md").read_text("utf-8")
STATEMENTS = [
    statement.strip()
    for block in re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for statement in block.split(";\n")
    if statement.strip()
]
REMOTE = [statement for statement in STATEMENTS if "REMOTE WITH CONNECTION" in statement]
NOT_KNOWN_TO_THE_PARSER = "CREATE VECTOR INDEX"


def found(pattern: str, text: str) -> str:
    """The pattern's one group."""
    match = re.search(pattern, text)
    assert match, pattern
    return match[1]


@pytest.mark.parametrize(
    "statement", STATEMENTS, ids=lambda statement: statement.split("\n")[0][:60]
)
def test_the_sql_parses(statement: str) -> None:
    (tree,) = sqlglot.parse(statement, dialect="bigquery")
    assert isinstance(tree, exp.Command) == statement.startswith(NOT_KNOWN_TO_THE_PARSER)


def test_the_parser_refuses_broken_sql() -> None:
    broken = next(statement for statement in STATEMENTS if "UNNEST" in statement).replace(
        "UNNEST(", "UNNEST(("
    )
    with pytest.raises(sqlglot.errors.ParseError):
        sqlglot.parse(broken, dialect="bigquery")


def test_a_text_and_an_image_function_are_shown() -> None:
    contexts = [
        dict(ast.literal_eval(found(r"user_defined_context = (\[.*\])", sql))) for sql in REMOTE
    ]
    assert [Context.model_validate(context).input for context in contexts] == ["text", "image"]


def test_the_shown_batches_fit_the_functions_limits() -> None:
    texts, images = (int(found(r"max_batching_rows = (\d+)", sql)) for sql in REMOTE)
    bytes_a_row = max(float(size) for size in re.findall(r"json +([\d.]+) KB a row", PAGE)) * 1000
    assert texts * bytes_a_row < MAX_ANSWER_BYTES
    assert 16 * texts <= SETTINGS.max_queue_items, "16 at once are what the page says"
    assert images <= MAX_IMAGES


def test_the_limits_named_are_the_functions() -> None:
    assert f"over {MAX_ANSWER_BYTES // 10**6} MB" in PAGE
    assert f"over {MAX_IMAGES} images" in PAGE
    assert f"over {MAX_TEXT_CHARS:,} characters" in PAGE
    assert f"`CLIP_MAX_QUEUE_ITEMS` ({SETTINGS.max_queue_items:,})" in PAGE
    assert f"`CLIP_REQUEST_TIMEOUT_S` ({SETTINGS.request_timeout_s:.0f})" in PAGE


def test_the_costs_are_reckoned_from_the_measured_figures() -> None:
    """The snippet harness runs the reckoning itself."""
    seconds = found(r"\| 1,000 texts in one request \| ([\d.]+) s \|", MEASURED)
    images_a_second = found(
        r"\| one 640×480 JPEG a request, 16 callers \| ([\d.]+) /s \|", MEASURED
    )
    assert f'("texts", 1000 / {seconds}, 1000), ("images", {images_a_second}, 100)' in PAGE
    assert f"1,000 short texts in one request in {seconds} s, {images_a_second} JPEGs" in PAGE
    assert f"| 1,000 short texts | {seconds} s |" in PAGE
