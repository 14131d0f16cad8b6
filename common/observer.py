"""What the library tells of its work. The function counts and logs it; a script need not listen."""

from typing import Protocol

from common.errors import ImageError
from common.items import Image
from common.models.spec import TowerName


class Observer(Protocol):
    """Watches one call. Its methods may be called from any thread."""

    def stage(self, name: str, seconds: float) -> None:
        """A stage of the call ended: `fetch` or `decode` of one image, `queue`, `encode`."""
        ...

    def batches(self, sizes: list[int]) -> None:
        """The sizes of the forward passes that held an item of this call."""
        ...

    def image_failed(self, image: Image, error: ImageError) -> None:
        """An image could not be embedded. Equal images of a call fail once."""
        ...


class TowerObserver(Protocol):
    """Watches the encoders of a process. Its methods may be called from any thread."""

    def batch_encoded(self, tower: TowerName, items: int, seconds: float) -> None:
        """A forward pass ended."""
        ...

    def load_ended(self, tower: TowerName, outcome: str, seconds: float) -> None:
        """A tower's load ended, as `loaded` or `failed`."""
        ...


class Unobserved:
    """Listens to nothing."""

    def stage(self, name: str, seconds: float) -> None:
        """See Observer."""

    def batches(self, sizes: list[int]) -> None:
        """See Observer."""

    def image_failed(self, image: Image, error: ImageError) -> None:
        """See Observer."""

    def batch_encoded(self, tower: TowerName, items: int, seconds: float) -> None:
        """See TowerObserver."""

    def load_ended(self, tower: TowerName, outcome: str, seconds: float) -> None:
        """See TowerObserver."""


UNOBSERVED = Unobserved()
