"""Every snippet of the README and of docs/ runs with the demo model and prints what the text shows.

The bash, sh and python blocks of a document run in order, in one fresh folder that has a checkout's
`.venv`. A block is skipped if the line before it is `<!-- not run: why -->`, or if it needs a cloud
or builds something. An unnamed, text or json block right after a snippet is its output. In an
output, `…` matches anything, and white space does not count. A number with a point may differ by
0.02, because another CPU rounds its int8 products differently.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import DOCUMENTS, LANGUAGES, Snippet, snippets_of
from tests.e2e.server import Server
from tests.paths import ROOT

SERVED = re.compile(r"(http://)?(127\.0\.0\.1|localhost):8080")
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
TOLERANCE = 0.02
SPACE = re.compile(r"(?<!\d) | (?![-\d])")  # but for those that part two numbers


def run(snippet: Snippet, folder: Path, server: Server) -> str:
    """What the snippet prints. Fails if it ends in an error, or if a request is refused unshown."""
    refused = count_refused(server)
    code = SERVED.sub(server.url, snippet.code)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CLIP_")
    }
    done = subprocess.run(
        [*LANGUAGES[snippet.language], code],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"line {snippet.line}: {done.stderr}"
    assert snippet.shown or count_refused(server) == refused, (
        f"line {snippet.line}: refused: {done.stdout}"
    )
    return done.stdout


def count_refused(server: Server) -> int:
    return sum(record.get("status", 0) >= 400 for record in server.records())


def differs(printed: str, shown: str) -> str:
    """In what `printed` is not what is `shown`; empty: in nothing."""
    printed, shown = (SPACE.sub("", " ".join(text.split())) for text in (printed, shown))
    pattern = NUMBER.sub("\0", shown)
    pattern = re.escape(pattern).replace("\0", f"({NUMBER.pattern})").replace("…", ".*?")
    found = re.fullmatch(pattern, printed)
    if not found:
        return f"printed {printed[:2000]}\nshown {shown}"
    pairs = zip(found.groups(), NUMBER.findall(shown), strict=True)
    return "; ".join(
        f"{ours}, shown {theirs}"
        for ours, theirs in pairs
        if abs(float(ours) - float(theirs)) > TOLERANCE
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_snippets_do_what_they_say(document: Path, demo: Server, tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for snippet in snippets_of(document.read_text("utf-8")):
        if snippet.runs:
            printed = run(snippet, tmp_path, demo)
            difference = differs(printed, snippet.shown) if snippet.shown else ""
            assert not difference, f"{document.name}, line {snippet.line}: {difference}"


def test_the_documents_have_snippets_of_every_kind() -> None:
    """Else the test above would pass over documents that it cannot read."""
    snippets = [snippet for path in DOCUMENTS for snippet in snippets_of(path.read_text("utf-8"))]
    assert not {snippet.language for snippet in snippets} & {
        "console",
        "shell",
        "zsh",
        "py",
        "python3",
    }
    ran = [snippet for snippet in snippets if snippet.runs]
    assert {snippet.language for snippet in ran} >= {"bash", "python"}
    assert sum(snippet.shown is not None for snippet in ran) >= 8


@pytest.mark.parametrize(
    ("printed", "shown", "same"),
    [
        ("a fox 0.816\n", "a  fox 0.82", True),
        ("a fox 0.816\n", "a fox 0.716", False),
        ("[[0.816 0.33 ]\n [0.1 -0.7]]", "[[0.82 0.33]\n [0.1  -0.7]]", True),
        ("a fox 0.816\n", "a cat 0.816", False),
        ('{"a":[0.01,-0.02]}', '{"a": [0.01, …]}', True),
        ('{"a":[0.01],"b":3}', '{"a": […], "b": 4}', False),
        ("1e-05 -1.5e-05", "1e-05 -0.001", True),
    ],
)
def test_output_is_compared_by_its_words_and_roughly_by_its_numbers(
    printed: str, shown: str, same: bool
) -> None:
    assert (not differs(printed, shown)) is same
