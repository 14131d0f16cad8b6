"""The release check passes a complete release, and names what is missing from others."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from common.version import VERSION
from deploy.release_check import objections
from tests.paths import ROOT

CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-11-26\n\n- A thing.\n"
VERSIONS = "| version | date | what |\n| --- | --- | --- |\n| 1.2.3 | 2026-11-26 | nothing |\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("tests", "docs"):
        (tmp_path / name).mkdir()
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\ndynamic = ["version"]\n')
    (tmp_path / "tests/openapi.json").write_text(json.dumps({"info": {"version": "1.2.3"}}))
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    (tmp_path / "docs/versions.md").write_text(VERSIONS)
    return tmp_path


def check(tree: Path, tags: tuple[str, ...] = ("v1.2.3",), changed: str = "") -> list[str]:
    return list(objections(tree, "1.2.3", tags, changed))


def replacing(name: str, old: str, new: str) -> Callable[[Path], None]:
    def replace(tree: Path) -> None:
        text = (tree / name).read_text()
        assert old in text
        (tree / name).write_text(text.replace(old, new))

    return replace


def test_a_whole_release_has_no_objection(tree: Path) -> None:
    assert check(tree) == []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (replacing("pyproject.toml", 'dynamic = ["version"]', 'version = "1.2.3"'), "pyproject"),
        (replacing("tests/openapi.json", "1.2.3", "1.2.2"), "openapi"),
        (replacing("CHANGELOG.md", "[Unreleased]\n", "[Unreleased]\n\n- More.\n"), "unreleased"),
        (replacing("CHANGELOG.md", "[1.2.3]", "[1.2.4]"), "newest entry"),
        (replacing("CHANGELOG.md", " - 2026-11-26", ""), "no date"),
        (replacing("CHANGELOG.md", "2026-11-26", "2026-13-26"), "no date"),
        (replacing("CHANGELOG.md", "- A thing.", ""), "is empty"),
        (replacing("docs/versions.md", "1.2.3", "1.2.2"), "versions.md"),
        (replacing("docs/versions.md", "2026-11-26", "2026-11-25"), "versions.md"),
    ],
)
def test_what_does_not_agree_is_named(tree: Path, spoil: Callable[[Path], None], says: str) -> None:
    spoil(tree)
    assert says in check(tree)[0]


def test_the_commit_is_tagged_and_clean(tree: Path) -> None:
    assert "no tag v1.2.3" in check(tree, tags=("v1.2.2",))[0]
    assert "not committed" in check(tree, changed=" M main.py\n")[0]


def test_between_releases_nothing_but_the_release_itself_is_missing() -> None:
    missing = list(objections(ROOT, VERSION, [f"v{VERSION}"], ""))
    assert all("CHANGELOG.md" in text for text in missing), missing
