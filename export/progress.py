"""What an export reports while it runs."""

from typing import Any

from tqdm import tqdm


def shown() -> "tqdm[Any]":
    """A bar on stderr."""
    return tqdm(total=0, unit="item")
