"""Servers that several end-to-end tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import Server, serve


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The demo model, both towers loaded, with short fetch timeouts."""
    folder: Path = tmp_path_factory.mktemp("demo")
    with serve(folder, CLIP_FETCH_TIMEOUT_S="2", CLIP_HEALTH_WAIT_S="60") as server:
        assert server.get("/health").json()["status"] == "healthy"
        yield server
