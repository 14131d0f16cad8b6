"""Fixtures of several test modules."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fresh import environment
from tests.e2e.server import ROOT, Server, serve
from tests.image_server import ImageServer, serving


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--hostile`: the campaigns of tests/hostile at full length."""
    parser.addoption("--hostile", action="store_true", help="run the campaigns of hostile input at full length")


@pytest.fixture
def image_server() -> Iterator[ImageServer]:
    """A fresh loopback server of images."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The demo model, both towers loaded, with short fetch timeouts."""
    folder: Path = tmp_path_factory.mktemp("demo")
    with serve(folder, CLIP_FETCH_TIMEOUT_S="2", CLIP_HEALTH_WAIT_S="60") as server:
        assert server.get("/health").json()["status"] == "healthy"
        yield server


@pytest.fixture(scope="session")
def serve_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that holds requirements-serve.txt and nothing else."""
    return environment(tmp_path_factory.mktemp("serve") / "environment", ROOT / "requirements-serve.txt")
