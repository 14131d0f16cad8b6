"""Campaigns of hostile input: short in `make test`, long in `make test-hostile`."""

from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def effort(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """`effort(short, long)`: how many cases a campaign takes."""
    is_long = bool(request.config.getoption("--hostile"))
    return lambda short, long: long if is_long else short
