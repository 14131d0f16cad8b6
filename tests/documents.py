"""Reads the fenced blocks of the README and of docs/."""

import re
import sys
from dataclasses import dataclass

from tests.paths import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = {
    "bash": ["bash", "-euo", "pipefail", "-c"],
    "sh": ["sh", "-euc"],
    "python": [sys.executable, "-c"],
}
BUILDS_OR_NEEDS_A_CLOUD = re.compile(r"^\s*(make|gcloud|bq|gsutil|docker)\s", re.MULTILINE)
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<code>.*?)^```\n"
    r"(?:\n?```(?:text|json)?\n(?P<shown>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Snippet:
    """A fenced block; `shown` None: no output is shown."""

    language: str
    code: str
    reason: str | None
    shown: str | None
    line: int

    @property
    def runs(self) -> bool:
        """Whether it is to be run."""
        return (
            self.language in LANGUAGES
            and not self.reason
            and not BUILDS_OR_NEEDS_A_CLOUD.search(self.code)
        )


def snippets_of(text: str) -> list[Snippet]:
    """All fenced blocks but those that are another's output."""
    return [
        Snippet(**found.groupdict(), line=text.count("\n", 0, found.start("code")) + 1)
        for found in BLOCK.finditer(text)
    ]
