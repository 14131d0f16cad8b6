"""`make docs`: the site builds without a warning, holds every page, and asks no other host."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

LOADS = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=[\"']?([^\"'\s>]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. --strict fails on a dead link or anchor, and on a page that no menu names."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_menu_leads_to_every_document(site: Path) -> None:
    start = (site / "index.html").read_text("utf-8")
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    names = {path.relative_to(ROOT).with_suffix(".html").as_posix() for path in documents}
    for name in names - {"README.html"}:
        assert (site / name).is_file(), name
        assert f'href="{name}"' in start, name


def test_pages_load_styles_scripts_and_images_from_the_site_alone(site: Path) -> None:
    for page in site.glob("docs/*.html"):
        loaded = LOADS.findall(page.read_text("utf-8"))
        assert any(".css" in name for name in loaded)
        for name in loaded:
            assert (page.parent / name.partition("#")[0]).is_file(), name


def test_source_files_that_documents_link_to_are_on_the_site(site: Path) -> None:
    page = (site / "docs" / "deployment.html").read_text("utf-8")
    assert 'href="../deploy/terraform/main.tf.txt"' in page
    assert (site / "deploy" / "terraform" / "main.tf.txt").is_file()
