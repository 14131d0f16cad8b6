"""Fixtures of several test modules."""

from collections.abc import Iterator

import pytest

from tests.image_server import ImageServer, serving


@pytest.fixture
def image_server() -> Iterator[ImageServer]:
    """A fresh loopback server of images."""
    with serving() as server:
        yield server
