"""The curl and Python code that the playground copies runs, and prints what the page shows."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from export.emoji import picture_of
from tests.e2e.browser import visit
from tests.e2e.server import Server

TEXTS = ["it's a fox", '$HOME `id` $(id) \\n "quoted" JSON']
FILE = "it's a $(fox) `file`.png"


def picture() -> bytes:
    """A fox too large for the page's address: it stays a file."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(picture_of("fox"))) as image:
        image.resize((512, 512)).save(file, "PNG")
    return file.getvalue()


def copied(page: Page, language: str) -> str:
    """What the button puts into the clipboard."""
    page.get_by_role("tab", name=language).click()
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#copy")).to_have_text("Copied")
    expect(page.locator("#copy")).to_have_text("Copy")
    return str(page.evaluate("navigator.clipboard.readText()"))


def run(code: str, folder: Path, *command: str) -> str:
    """What the code prints."""
    done = subprocess.run([*command, code], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def open_with_inputs(page: Page, folder: Path, has_file: bool) -> None:
    """Two texts that a shell would interpret, two samples, and a file beside the code if given."""
    (folder / FILE).write_bytes(picture())
    if has_file:
        page.get_by_label("Choose image files").set_input_files(folder / FILE)
    page.get_by_label("Texts, one per line").fill("\n".join(TEXTS))
    expect(page.locator("#rows .words")).to_have_text(TEXTS)
    expect(page.locator("#rows td[data-h]")).to_have_count(len(TEXTS) * (2 + has_file))


def shown_cosines(page: Page) -> list[list[float]]:
    """The heat map."""
    rows = [row.locator("td").all_inner_texts() for row in page.locator("#rows tr").all()]
    return [[float(cell.replace("−", "-")) for cell in row] for row in rows]


@pytest.mark.parametrize("has_file", [False, True])
def test_the_similarities_in_code_are_those_of_the_page(
    browser: Browser, demo: Server, tmp_path: Path, has_file: bool
) -> None:
    with visit(browser, f"{demo.url}/#t=cat&u=sample:fox&u=sample:cat") as opened:
        page = opened.page
        open_with_inputs(page, tmp_path, has_file)
        shown = np.array(shown_cosines(page))
        answer = json.loads(run(copied(page, "curl"), tmp_path, "bash", "-c"))
        curl = np.array(answer["text_embeddings"]) @ np.array(answer["image_embeddings"]).T
        printed = run(copied(page, "Python"), tmp_path, sys.executable, "-c").splitlines()
    assert answer["errors"] == []
    np.testing.assert_allclose(curl, shown, atol=0.006)
    assert [line[: len(text)] for line, text in zip(printed, TEXTS, strict=True)] == TEXTS
    python = [json.loads(line[len(text) :]) for line, text in zip(printed, TEXTS, strict=True)]
    np.testing.assert_allclose(python, shown, atol=0.006)


@pytest.mark.parametrize("has_file", [False, True])
def test_the_zero_shot_code_gives_the_probabilities_of_the_page(
    browser: Browser, demo: Server, tmp_path: Path, has_file: bool
) -> None:
    with visit(browser, f"{demo.url}/#t=cat&u=sample:fox&u=sample:cat&p=a+{{}}") as opened:
        page = opened.page
        open_with_inputs(page, tmp_path, has_file)
        page.get_by_role("tab", name="Zero-shot").click()
        page.get_by_role("radio").last.check(force=True)
        expect(page.locator("#bars .label")).to_have_count(2)
        expect(page.locator("#snippet")).to_contain_text(
            "$(base64 <" if has_file else "data:image/webp"
        )
        labels = page.locator("#bars .label").all_inner_texts()
        answer = json.loads(run(copied(page, "curl"), tmp_path, "bash", "-c"))
        printed = run(copied(page, "Python"), tmp_path, sys.executable, "-c").splitlines()
    assert [TEXTS[result["index"]] for result in answer["results"]] == labels
    assert [line.partition(" ")[2] for line in printed] == [f"a {label}" for label in labels]
    assert [float(line.split()[0]) for line in printed] == pytest.approx(
        [result["probability"] for result in answer["results"]], abs=0.001
    )
