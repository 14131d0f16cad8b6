"""Errors of requests. The library's own errors are in common/errors.py.

    EmbeddingError
    └── RequestError                the caller can correct the request
        ├── InvalidRequest          invalid_request
        ├── Unauthorized            unauthorized
        ├── NotFound                not_found
        ├── MethodNotAllowed        method_not_allowed
        ├── TooLarge                too_large
        ├── UnsupportedMediaType    unsupported_media_type
        ├── FingerprintMismatch     fingerprint_mismatch
        └── ImagesFailed            image_failed

functions/responses.py maps each class to its HTTP status.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from common.errors import EmbeddingError, ItemError


@dataclass(frozen=True)
class FieldError:
    """One wrong field of a request. `loc` is its path, such as ("texts", 3)."""

    loc: tuple[str | int, ...]
    message: str

    @property
    def path(self) -> str:
        """The path as text, such as `texts[3]` for ("texts", 3)."""
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.loc)
        return "".join(parts).removeprefix(".")


class RequestError(EmbeddingError):
    """The caller has to change the request."""


class InvalidRequest(RequestError):
    """The body is not JSON, a field is wrong, or a limit is exceeded. `errors` names each field."""

    code = "invalid_request"

    def __init__(self, message: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class Unauthorized(RequestError):
    """API keys are required and the request has no valid one."""

    code = "unauthorized"


class NotFound(RequestError):
    """No route has this path."""

    code = "not_found"


class MethodNotAllowed(RequestError):
    """The path does not support the method; `allowed` lists the methods that it supports."""

    code = "method_not_allowed"

    def __init__(self, message: str, allowed: Sequence[str]) -> None:
        super().__init__(message)
        self.allowed = tuple(allowed)


class TooLarge(RequestError):
    """The body is larger than the limit."""

    code = "too_large"


class UnsupportedMediaType(RequestError):
    """The route does not read bodies of this media type."""

    code = "unsupported_media_type"


class FingerprintMismatch(RequestError):
    """The caller expects vectors of another model than the served one."""

    code = "fingerprint_mismatch"


class ImagesFailed(RequestError):
    """Images failed in a request that does not allow partial results.

    `items` lists all failures, and `locs` the path to each in the request. Indices refer to
    `field`, unless `place` maps an index to its own field and place.
    """

    code = "image_failed"

    def __init__(
        self,
        message: str,
        items: Sequence[ItemError],
        field: str = "urls",
        place: Callable[[int], tuple[str, int]] | None = None,
    ) -> None:
        super().__init__(message)
        self.items = tuple(items)
        self.locs = [place(item.index) if place else (field, item.index) for item in items]
