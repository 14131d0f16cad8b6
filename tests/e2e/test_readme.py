"""The README's first minute does what it says."""

import re
import subprocess
import sys

from tests.e2e.server import ROOT, Server


def test_the_ranking_snippet_prints_what_the_readme_shows(demo: Server) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    found = re.search(r"<<'PYTHON'\n(.*?)\nPYTHON\n```\n```\n(.*?)\n```", readme, re.DOTALL)
    assert found
    snippet = found[1].replace("http://127.0.0.1:8080", demo.url)
    run = subprocess.run([sys.executable, "-c", snippet], cwd=ROOT, capture_output=True, text=True, check=True)
    printed = [line.rsplit(maxsplit=1) for line in run.stdout.splitlines()]
    shown = [line.rsplit(maxsplit=1) for line in found[2].splitlines()]
    assert [text for text, _ in printed] == [text for text, _ in shown]
    for (_, ours), (_, theirs) in zip(printed, shown, strict=True):
        assert abs(float(ours) - float(theirs)) < 0.02  # another CPU rounds its int8 products otherwise
