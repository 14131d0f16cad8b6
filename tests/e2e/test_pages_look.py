"""How the pages look: screenshots in build/, nothing clipped or inaccessible, small, at rest."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser import check_accessible, check_fits, note, screenshot, visit
from tests.e2e.server import Server, serve

LOOKS = [(width, scheme) for width in (360, 1280) for scheme in ("light", "dark")]
FIGURES = """() => {
  const [page] = performance.getEntriesByType('navigation');
  const paints = performance.getEntriesByType('paint').map(({ startTime }) => startTime);
  return {
    transferred_bytes: page.transferSize,
    page_bytes: page.decodedBodySize,
    first_paint_ms: Math.round(Math.min(...paints)),
    drawn_ms: Math.round(performance.now()),
    layout_shift: shifts.reduce((sum, { value }) => sum + value, 0),
  };
}"""
QUIET = (
    "() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))"
)


def drawn(page: Page) -> None:
    """Wait for the samples' heat map, and for the images in it."""
    expect(page.locator("td.best")).to_have_count(8)
    expect(page.locator("#fingerprint")).not_to_have_text("after loading")
    page.evaluate("() => Promise.all([...document.images].map((image) => image.decode()))")
    page.evaluate(QUIET)


def looks(width: int, scheme: str) -> dict[str, Any]:
    """A window of that width and colour scheme."""
    return {
        "viewport": {"width": width, "height": 900 if width > 600 else 800},
        "color_scheme": scheme,
    }


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_the_playground_is_whole_accessible_and_still(
    browser: Browser, mclip: Server, width: int, scheme: str
) -> None:
    with visit(browser, mclip.url, **looks(width, scheme)) as opened:
        page = opened.page
        drawn(page)
        figures = page.evaluate(FIGURES)
        note(**{f"{width}_{scheme}": figures})
        assert page.evaluate("shifts") == []
        check_fits(page)
        check_accessible(page)
        screenshot(page, f"playground-{width}-{scheme}")
        page.get_by_role("tab", name="Zero-shot").click()
        expect(page.locator("#bars .label").first).to_have_text("狐")
        page.evaluate(
            "() => Promise.all(document.getAnimations().map((animation) => animation.finished))"
        )
        check_fits(page)
        check_accessible(page)
        screenshot(page, f"zero-shot-{width}-{scheme}")


@pytest.mark.parametrize("width", [360, 1280])
def test_a_first_visit_while_the_model_loads_is_still(
    browser: Browser, tmp_path: Path, width: int
) -> None:
    with serve(tmp_path) as server, visit(browser, server.url, **looks(width, "light")) as opened:
        drawn(opened.page)
        assert opened.page.evaluate("shifts") == []


def test_the_page_is_one_small_request(browser: Browser, demo: Server) -> None:
    with visit(browser, demo.url) as opened:
        drawn(opened.page)
        figures = opened.page.evaluate(FIGURES)
        assert figures["transferred_bytes"] <= 60 * 1024
        assert figures["page_bytes"] <= 60 * 1024
        asked = [request for request in opened.requests if request.startswith("GET http")]
        assert set(asked) == {f"GET {demo.url}/"}  # the page, and what the function is


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_troubles_fit_too(browser: Browser, demo: Server, width: int, scheme: str) -> None:
    long = "a very long text about a fox that goes on and on " * 4
    urls = (
        "&u=http://169.254.169.254/a/very/long/path/that/would/not/fit/on/a/phone.png&u=no+address"
    )
    address = f"{demo.url}/#t={long}%0AUnbreakable{'x' * 80}%0Acat&u=sample:fox{urls}&u=sample:cat"
    with visit(browser, address, **looks(width, scheme)) as opened:
        page = opened.page
        expect(page.locator("#images .failed")).to_have_count(2)
        expect(page.locator("td.best")).to_have_count(3)
        check_fits(page)
        check_accessible(page)
        screenshot(page, f"troubles-{width}-{scheme}")


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1280, "dark")])
def test_the_docs_page_lists_every_route_and_fits(
    browser: Browser, demo: Server, width: int, scheme: str
) -> None:
    with visit(browser, f"{demo.url}/docs", **looks(width, scheme)) as opened:
        page = opened.page
        operations = sum(
            len(methods) for methods in demo.get("/openapi.json").json()["paths"].values()
        )
        expect(page.locator(".opblock")).to_have_count(operations)
        assert (
            page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            <= 0
        )
        assert opened.hosts == {demo.url.removeprefix("http://")}
        screenshot(page, f"docs-{width}-{scheme}")


def test_the_docs_page_sends_a_request(browser: Browser, demo: Server) -> None:
    with visit(browser, f"{demo.url}/docs") as opened:
        page = opened.page
        page.locator("#operations-Embedding-post_embed_text .opblock-summary-control").click()
        page.locator("#operations-Embedding-post_embed_text").get_by_role(
            "button", name="Execute"
        ).click()
        expect(page.locator(".live-responses-table td.response-col_status").last).to_contain_text(
            "200"
        )
