"""Interfaces through which the library reports its work, such as timings and failures.

The HTTP function counts and logs these events. A script may ignore them.
"""

from typing import Protocol

from common.errors import ImageError
from common.items import Image
from common.models.spec import TowerName


class Observer(Protocol):
    """Receives the events of one call. Its methods may be called from any thread."""

    def stage(self, name: str, seconds: float) -> None:
        """A stage ended: `fetch` or `decode` of one image, or `queue` or `encode` of the call."""
        ...

    def batches(self, sizes: list[int]) -> None:
        """Forward passes of these sizes included an item of this call."""
        ...

    def image_failed(self, image: Image, error: ImageError) -> None:
        """An image could not be embedded. Equal images of a call are reported once."""
        ...


class TowerObserver(Protocol):
    """Receives the events of a model's towers. Its methods may be called from any thread."""

    def batch_encoded(self, tower: TowerName, items: int, seconds: float) -> None:
        """A forward pass over `items` ended after `seconds`."""
        ...

    def load_ended(self, tower: TowerName, outcome: str, seconds: float) -> None:
        """The load of a tower ended, with outcome `loaded` or `failed`."""
        ...


class Unobserved:
    """An observer that ignores all events."""

    def stage(self, name: str, seconds: float) -> None:
        """Ignore the end of a stage."""

    def batches(self, sizes: list[int]) -> None:
        """Ignore the batch sizes."""

    def image_failed(self, image: Image, error: ImageError) -> None:
        """Ignore the failed image."""

    def batch_encoded(self, tower: TowerName, items: int, seconds: float) -> None:
        """Ignore the forward pass."""

    def load_ended(self, tower: TowerName, outcome: str, seconds: float) -> None:
        """Ignore the end of the load."""


UNOBSERVED = Unobserved()
