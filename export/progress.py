"""Show the progress of an export."""

from typing import Any

from tqdm import tqdm


def shown() -> "tqdm[Any]":
    """A progress bar on stderr that counts encoded items."""
    return tqdm(total=0, unit="item")
