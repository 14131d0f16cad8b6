"""Check that a release is whole: `python -m deploy.release_check`, which is `make release-check`.

The version stands in common/version.py alone. Everything that repeats it must agree: the snapshot
of the contract, the newest dated entry of CHANGELOG.md, the newest row of docs/versions.md, and
the tag of the commit.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from common.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
ENTRY = re.compile(r"^## \[(.+?)\](?: - (\S+))?[ \t]*$", re.MULTILINE)
ROW = re.compile(r"^\| (\d+\.\d+\.\d+) \| (\S+) \|", re.MULTILINE)


def objections(root: Path, version: str, tags: Sequence[str], changed: str) -> Iterator[str]:
    """What is wrong with the release, one sentence for each problem.

    `tags` are those of the commit; `changed` is what `git status --porcelain` prints.
    """
    yield from _of_pyproject(root)
    contract = json.loads((root / "tests/openapi.json").read_text("utf-8"))["info"]["version"]
    if contract != version:
        yield f"tests/openapi.json has version {contract}: run `python -m tests.test_openapi`"
    changelog = (root / "CHANGELOG.md").read_text("utf-8")
    yield from _of_changelog(changelog, version)
    days = dict(ENTRY.findall(changelog))
    row = ROW.search((root / "docs/versions.md").read_text("utf-8"))
    if row is None or (row[1], row[2]) != (version, days.get(version)):
        yield f"docs/versions.md does not begin with {version} and the date of CHANGELOG.md"
    if f"v{version}" not in tags:
        yield f"the commit has no tag v{version}: `git tag -a v{version}`"
    if changed:
        yield "some changes are not committed"


def _of_pyproject(root: Path) -> Iterator[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    if "version" in project or "version" not in project.get("dynamic", []):
        yield "pyproject.toml sets a version: remove it, common/version.py sets the version"


def _of_changelog(text: str, version: str) -> Iterator[str]:
    """Checks that the newest entry has the version, a date and lines, and none are unreleased."""
    entries = list(ENTRY.finditer(text))
    ends = [entry.start() for entry in entries[1:]] + [len(text)]
    bodies = {
        entry[1]: text[entry.end() : end].strip() for entry, end in zip(entries, ends, strict=True)
    }
    if bodies.pop("Unreleased", ""):
        yield "CHANGELOG.md has unreleased lines: give them a version and a date"
    if not bodies or next(iter(bodies)) != version:
        yield f"the newest entry of CHANGELOG.md is not [{version}]"
    elif not bodies[version]:
        yield f"the entry of {version} in CHANGELOG.md is empty"
    elif not _is_day(next(entry[2] for entry in entries if entry[1] == version)):
        yield f"the entry of {version} in CHANGELOG.md has no date: `## [{version}] - YYYY-MM-DD`"


def _is_day(text: str | None) -> bool:
    try:
        return bool(text) and date.fromisoformat(str(text)).isoformat() == text
    except ValueError:
        return False


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout


def main() -> int:
    """Print every objection. Returns their number as the exit status."""
    tags = _git("tag", "--points-at", "HEAD").split()
    found = list(objections(ROOT, VERSION, tags, _git("status", "--porcelain")))
    for text in found:
        print(f"release {VERSION}: {text}", file=sys.stderr)
    if not found:
        print(f"release {VERSION} is whole")
    return len(found)


if __name__ == "__main__":
    sys.exit(main())
