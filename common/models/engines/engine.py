"""The protocol that every engine implements."""

from typing import Protocol

from common.models.fingerprint import Fingerprints
from common.models.spec import EngineOptions, ImageEncoder, ModelSpec, TextEncoder


class Engine(Protocol):
    """Loads and runs towers. It must not import its libraries before it loads a tower."""

    name: str

    def unfit(self, options: EngineOptions) -> str:
        """Why the engine cannot work with these options; empty if it can."""
        ...

    def refusal(self, spec: ModelSpec, options: EngineOptions) -> str:
        """Why the engine cannot serve the model now; empty if it can.

        It is called before every load, so a missing file may appear later. Raises ModelUnavailable
        for a broken file.
        """
        ...

    def fingerprints(self, spec: ModelSpec, options: EngineOptions) -> Fingerprints | None:
        """The fingerprints of the model as it would be served now.

        None: they are known only once the towers are loaded.

        Must be cheap, and must not fetch anything. Raises ModelUnavailable for broken files.
        """
        ...

    def foresee(self, spec: ModelSpec, options: EngineOptions) -> str:
        """Why a load would fail now, as far as that is cheap to find out; else empty.

        It may ask the model hub, but must not fetch anything.
        """
        ...

    def load_text(self, spec: ModelSpec, options: EngineOptions) -> TextEncoder:
        """Load the text tower and run it once. Raises ModelUnavailable."""
        ...

    def load_image(self, spec: ModelSpec, options: EngineOptions) -> ImageEncoder:
        """Load the image tower and run it once. Raises ModelUnavailable."""
        ...
