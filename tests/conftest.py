"""Fixtures of several test modules."""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.e2e.fresh import link
from tests.e2e.server import Server, serve
from tests.gcloud import forking_gcloud
from tests.image_server import ImageServer, serving
from tests.paths import ROOT
from tests.reach import HEAVY, TORCH, reaches

SLOW_FOLDERS = ("e2e", "hostile")
# The processes of the tests, a hundred and more, compile our modules once and not each by itself.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Generated cases are the same in every run. `make test-hostile` takes more of them.
hypothesis.settings.register_profile("short", max_examples=200, deadline=None, derandomize=True)
hypothesis.settings.register_profile("long", max_examples=5000, deadline=None, derandomize=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--hostile`: campaigns at full length and size. `--fast`: the loop while writing."""
    parser.addoption(
        "--hostile",
        action="store_true",
        help="run the campaigns at full length and the models at full size",
    )
    parser.addoption(
        "--fast",
        action="store_true",
        help="leave out what needs a server, a browser or torch",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`--fast` skips the modules that need a server, gcloud, a browser or torch."""
    if not config.getoption("--fast"):
        return None
    if collection_path.is_dir():
        return True if collection_path.name in SLOW_FOLDERS else None
    is_test = collection_path.name.startswith("test_")
    return True if is_test and reaches(collection_path, HEAVY) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes, modules that take long come first: all then end at the same time."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        items.sort(key=lambda item: _length(item.path))


def _length(module: Path) -> int:
    """The modules that take longest have the lowest number."""
    if reaches(module, TORCH):
        return 0
    return 1 if module.parent.name in SLOW_FOLDERS or reaches(module, HEAVY) else 2


@pytest.fixture(scope="module", autouse=True)
def no_garbage() -> Iterator[None]:
    """Collects each module's garbage at its end.

    Otherwise a socket that one module leaves open is found at any time, and fails another test.
    What is left is not looked at again: it is modules, caches and fixtures of the session, and
    looking through it takes a second.
    """
    yield
    gc.collect()
    gc.freeze()


def pytest_collection_finish() -> None:
    """Garbage is looked for only among what the tests themselves make."""
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """How many cases hypothesis generates."""
    hypothesis.settings.load_profile("long" if config.getoption("--hostile") else "short")


@pytest.fixture(scope="session")
def effort(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`effort(short, long)`: how many cases a campaign takes; the long one with `--hostile`."""
    is_long = bool(request.config.getoption("--hostile"))
    return lambda short, long: long if is_long else short


@pytest.fixture
def image_server() -> Iterator[ImageServer]:
    """A fresh loopback server of images."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The demo model, both towers loaded, with short fetch timeouts."""
    folder: Path = tmp_path_factory.mktemp("demo")
    with serve(folder, CLIP_FETCH_TIMEOUT_S="5", CLIP_HEALTH_WAIT_S="60") as server:
        assert server.get("/health").json()["status"] == "healthy"
        yield server


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The demo model behind the API keys `first-key` and `second-key`."""
    settings: Any = {"CLIP_API_KEYS": "first-key, second-key", "CLIP_HEALTH_WAIT_S": "60"}
    with serve(tmp_path_factory.mktemp("keys"), **settings) as server:
        assert server.get("/health").json()["status"] == "healthy"
        yield server


@pytest.fixture(scope="session")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The demo model for pages of two origins, under other names, and without a playground."""
    settings: Any = {
        "CLIP_CORS_ORIGINS": "https://a.example, https://b.example",
        "CLIP_MODEL_ALIASES": "text-embedding-3-small, org/other",
        "CLIP_PLAYGROUND": "false",
    }
    with serve(tmp_path_factory.mktemp("configured"), **settings) as server:
        yield server


@pytest.fixture(scope="session")
def gcloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real gcloud, loaded once for all calls."""
    with forking_gcloud(tmp_path_factory.mktemp("gcloud")) as program:
        yield program


@pytest.fixture(scope="session")
def serve_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds requirements-serve.txt and nothing else."""
    return link(tmp_path_factory.mktemp("serve") / "environment", ROOT / "requirements-serve.txt")
