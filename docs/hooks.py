"""A hook of MkDocs: the site holds the repository's own documents, at their own paths.

So a link from README.md to docs/, from docs/ to SECURITY.md or to a source file, works on a
repository host and on the site alike, and MkDocs checks every one of them.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\]\(([^)\s#:]+)(?:#[^)\s]*)?\)")
SHOWN_BY_BROWSERS = (".md", ".png", ".svg", ".css")


def on_files(files: Files, /, *, config: MkDocsConfig) -> Files:
    """Replace what MkDocs found in docs/ by the documents and the files that they link to."""
    theme = [file for file in files if file.src_dir != config.docs_dir]
    pages = {*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")}
    style = ROOT / "docs" / "site.css"
    linked = {(page.parent / link).resolve() for page in pages for link in _links(page)}
    paths = (
        {style} | pages | {path for path in linked if path.is_file() and path.is_relative_to(ROOT)}
    )
    return Files([*theme, *(_file(path, config) for path in sorted(paths))])


def _links(page: Path) -> list[str]:
    return LINK.findall(page.read_text("utf-8"))


def _file(path: Path, config: MkDocsConfig) -> File:
    file = File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path))
    if path.suffix not in SHOWN_BY_BROWSERS:
        file.dest_uri += ".txt"  # a web server sends source files as downloads otherwise
    return file
