"""Fixtures of the tests that need a browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.browser import Visit, launched, visit
from tests.e2e.server import Server, serve


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, one for each module.

    For the whole session, its event loop would break asyncio.run in other tests.
    """
    with launched() as chromium:
        yield chromium


@pytest.fixture(scope="session")
def mclip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The multilingual demo model."""
    with serve(
        tmp_path_factory.mktemp("mclip"), CLIP_MODEL="demo-mclip", CLIP_FETCH_TIMEOUT_S="2"
    ) as server:
        yield server


@pytest.fixture
def english(browser: Browser, demo: Server) -> Iterator[Visit]:
    """The page with `demo`, its samples drawn."""
    with visit(browser, demo.url) as opened:
        expect(opened.page.locator("td.best")).to_have_count(8)
        yield opened
