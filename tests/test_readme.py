"""The README and docs/: short enough to read, and every link and image leads somewhere."""

import re
from pathlib import Path

import pytest

from tests.paths import ROOT

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FOLDERS = "bulk|common|deploy|docs|export|functions|tests"
MAX_PICTURE_BYTES = 200_000


def anchors(document: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(document.read_text("utf-8")):
        if "://" not in link:
            path, _, anchor = link.partition("#")
            target = (document.parent / path).resolve() if path else document
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_the_readme_is_short_and_shows_what_it_speaks_of() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert len(readme.split()) <= 1200
    for picture in ("docs/playground.png", "docs/benchmark.svg"):
        assert f"]({picture})" in readme
        assert (ROOT / picture).stat().st_size <= MAX_PICTURE_BYTES


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_every_page_is_found_from_the_readme(page: Path) -> None:
    assert f"(docs/{page.name})" in (ROOT / "README.md").read_text("utf-8")


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_every_page_says_whom_it_is_for_and_what_they_get(page: Path) -> None:
    _, opening, *_ = page.read_text("utf-8").split("\n\n")
    assert re.match(r"For .+\.\nAt the end .+\.$", opening, re.DOTALL), opening


def test_the_files_and_tests_that_documents_name_exist() -> None:
    """Security promises name the tests that keep them, and the architecture names modules."""
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        for path in re.findall(rf"`((?:{FOLDERS})/[\w/.-]+\.\w+)`", text):
            assert (ROOT / path).is_file(), f"{document.name}: {path}"
        for name in re.findall(r"`(test_\w+)[`…]", text):
            assert f"def {name}" in code, f"{document.name}: {name}"
