"""A real headless browser, and visits that must leave no error behind."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.chromium import find_chromium
from tests.paths import ROOT

BUILD = ROOT / "build"
NONE = "no Chromium is here: `make browser` installs one, or says how"
PATIENCE_MS = 30_000  # of a busy machine
WATCH = """
window.violations = [];
document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
  violations.push(`${violatedDirective} ${blockedURI}`);
});
window.shifts = [];
new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
  const nodes = entry.sources.map(({ node }) => node?.id || node?.nodeName);
  if (!entry.hadRecentInput) shifts.push({ value: entry.value, nodes });
})).observe({ type: 'layout-shift', buffered: true });
"""


@contextmanager
def launched() -> Iterator[Browser]:
    """Chromium. Where there is none the test is skipped, and under CI=true it fails."""
    path = find_chromium()
    if path is None and os.environ.get("CI") == "true":
        raise FileNotFoundError(NONE)
    if path is None:
        pytest.skip(NONE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page, and what it did that nobody sees."""

    page: Page
    complaints: list[str] = field(
        default_factory=list
    )  # console errors and warnings, uncaught errors
    requests: list[str] = field(default_factory=list)  # METHOD URL
    refusals: set[int] = field(
        default_factory=set
    )  # statuses whose lines in the console are the browser's own

    def unexpected(self) -> list[str]:
        """Complaints but for the expected refusals."""
        own = tuple(
            f"Failed to load resource: the server responded with a status of {one} "
            for one in self.refusals
        )
        return [complaint for complaint in self.complaints if not complaint.startswith(own)]

    @property
    def hosts(self) -> set[str]:
        """Where it asked, data and blobs aside."""
        urls = [request.split()[1] for request in self.requests]
        return {url.split("/")[2] for url in urls if url.startswith("http")}


@contextmanager
def visit(browser: Browser, url: str, **options: Any) -> Iterator[Visit]:
    """Open `url` in a fresh profile.

    At the end, the console must have no complaint, and the policy must have blocked nothing.
    """
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page = context.new_page()
    seen = Visit(page)
    page.on(
        "console",
        lambda message: seen.complaints.append(message.text) if message.type != "log" else None,
    )
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda request: seen.requests.append(f"{request.method} {request.url}"))
    page.add_init_script(WATCH)
    page.goto(url)
    yield seen
    assert page.evaluate("violations") == []
    assert seen.unexpected() == []
    context.close()


def check_accessible(page: Page) -> None:
    """axe-core finds nothing serious."""
    violations = Axe().run(page).response["violations"]
    serious = [
        f"{found['id']}: {found['nodes'][0]['html'][:200]}"
        f" {found['nodes'][0]['failureSummary'][:300]}"
        for found in violations
        if found["impact"] in ("serious", "critical")
    ]
    assert serious == []


def check_fits(page: Page) -> None:
    """Nothing makes the page wider than its window, and no text is wider than its box."""
    assert (
        page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        <= 0
    )
    cut = page.evaluate(
        """() => [...document.querySelectorAll(
               'button, label, dd, dt, h1, h2, td, p, .words, .ranked, .legend')]
             .filter((one) => one.offsetParent && !one.closest('.vh')
                              && one.scrollWidth > one.clientWidth + 1
                              && getComputedStyle(one).display !== 'inline')
             .map((one) => `${one.id || one.className || one.nodeName}: `
                           + one.textContent.trim().slice(0, 60))"""
    )
    assert cut == []


def screenshot(page: Page, name: str) -> Path:
    """The whole page as build/NAME.png."""
    BUILD.mkdir(exist_ok=True)
    path = BUILD / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path


def note(**figures: object) -> None:
    """Figures for those who read build/playground.json; a busy machine's are no reason to fail."""
    BUILD.mkdir(exist_ok=True)
    path = BUILD / "playground.json"
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the other process of the tests notes figures too
        file.seek(0)
        known = json.loads(file.read() or "{}")
        file.truncate(0)
        file.write(json.dumps(known | figures, indent=1) + "\n")


def best(page: Page) -> dict[str, str]:
    """Each text's best image."""
    rows = page.locator("#rows tr").all()
    return {
        row.locator(".words").inner_text(): row.locator(".ranked .thumb").first.get_attribute(
            "aria-label"
        )
        or ""
        for row in rows
    }


def write(page: Page, *lines: str) -> None:
    """These texts instead of those that stand there, and wait until they are drawn."""
    page.get_by_label("Texts, one per line").fill("\n".join(lines))
    expect(page.locator("#rows .words")).to_have_text(list(lines))
