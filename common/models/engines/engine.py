"""What an engine must give."""

from typing import Protocol

from common.models.spec import EngineOptions, ImageEncoder, ModelSpec, TextEncoder


class Engine(Protocol):
    """Runs towers. It imports its libraries when it loads one, never before."""

    name: str

    def unfit(self, options: EngineOptions) -> str:
        """Why these options rule the engine out for any model; empty if they do not."""
        ...

    def refusal(self, spec: ModelSpec, options: EngineOptions) -> str:
        """Why it cannot serve the model at this moment; empty if it can.

        Asked at every load, so that a file may appear later. Raises ModelUnavailable for a broken one.
        """
        ...

    def load_text(self, spec: ModelSpec, options: EngineOptions) -> TextEncoder:
        """The text tower, after one forward pass. Raises ModelUnavailable."""
        ...

    def load_image(self, spec: ModelSpec, options: EngineOptions) -> ImageEncoder:
        """The image tower, after one forward pass. Raises ModelUnavailable."""
        ...
