"""Fixtures of several test modules."""

import threading
from collections.abc import Iterator

import pytest

from tests.image_server import ImageServer


@pytest.fixture
def image_server() -> Iterator[ImageServer]:
    """A fresh loopback server of images."""
    server = ImageServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.stop()
    thread.join()
