"""The error tree. Each class has a stable public `code`; the HTTP status of each stands in functions/responses.py.

    EmbeddingError
    ├── RequestError                the caller can mend it
    │   ├── InvalidRequest          invalid_request
    │   ├── Unauthorized            unauthorized
    │   ├── NotFound                not_found
    │   │   └── ModelNotFound       model_not_found
    │   ├── MethodNotAllowed        method_not_allowed
    │   ├── TooLarge                too_large
    │   ├── UnsupportedMediaType    unsupported_media_type
    │   ├── FingerprintMismatch     fingerprint_mismatch
    │   └── ImagesFailed            image_failed
    ├── ServiceError                the caller can try again
    │   ├── Overloaded              overloaded
    │   ├── ModelLoading            model_loading
    │   ├── ModelUnavailable        model_unavailable
    │   ├── DeadlineExceeded        timeout
    │   └── Cancelled               cancelled
    ├── EncodingError               internal: an item that the engine could not encode
    └── ImageError                  one image of a request; never fails its neighbours
        ├── FetchError
        │   ├── InvalidUrl          invalid_url
        │   ├── BlockedUrl          blocked_url
        │   ├── DnsFailure          dns_failure
        │   ├── ConnectFailed       connect_failed
        │   ├── TlsFailed           tls_failed
        │   ├── FetchTimeout        timeout
        │   ├── HttpStatus          http_status
        │   ├── BadResponse         bad_response
        │   ├── TooManyRedirects    too_many_redirects
        │   ├── BodyTooLarge        too_large
        │   ├── UnsupportedType     unsupported_type
        │   ├── ObjectNotFound      not_found (gs)
        │   └── ObjectForbidden     forbidden (gs)
        ├── DecodeError
        │   ├── NotAnImage          not_an_image
        │   ├── UnsupportedImage    unsupported_type
        │   ├── TooManyPixels       too_many_pixels
        │   ├── TooComplex          too_complex
        │   └── CorruptImage        corrupt_image
        └── ImageTimeout            timeout: not fetched or encoded before the request had to end

Messages are for people: they name the field, the value's kind and the limit, and never hold a stack, a path, an
internal address or a URL's query string. What only the operator may read goes into an ImageError's `reason`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace


class EmbeddingError(Exception):
    """Base of all errors of this project; `str(error)` is the public message."""

    code = "internal"


@dataclass(frozen=True)
class FieldError:
    """One thing that is wrong with a request: `loc` is the path to the field, e.g. ("texts", 3)."""

    loc: tuple[str | int, ...]
    message: str

    @property
    def path(self) -> str:
        """`("texts", 3)` as `texts[3]`."""
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.loc)
        return "".join(parts).removeprefix(".")


class RequestError(EmbeddingError):
    """The request cannot be served as it is."""


class InvalidRequest(RequestError):
    """Not JSON, a wrong type, an unknown field, an empty list, a limit passed. `errors` names each field."""

    code = "invalid_request"

    def __init__(self, message: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class Unauthorized(RequestError):
    """API keys are set and the request carries none of them."""

    code = "unauthorized"


class NotFound(RequestError):
    """No such path."""

    code = "not_found"


class ModelNotFound(NotFound):
    """The request names a model that this function does not serve."""

    code = "model_not_found"


class MethodNotAllowed(RequestError):
    """The path is known, the method is not; `allowed` lists those that are."""

    code = "method_not_allowed"

    def __init__(self, message: str, allowed: Sequence[str]) -> None:
        super().__init__(message)
        self.allowed = tuple(allowed)


class TooLarge(RequestError):
    """The body is larger than the limit."""

    code = "too_large"


class UnsupportedMediaType(RequestError):
    """The body is not of a media type that the route reads."""

    code = "unsupported_media_type"


class FingerprintMismatch(RequestError):
    """The caller expects vectors of another model than the served one."""

    code = "fingerprint_mismatch"


class ServiceError(EmbeddingError):
    """The function cannot answer now; the same request may succeed after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(ServiceError):
    """The queue is full."""

    code = "overloaded"


class ModelLoading(ServiceError):
    """The tower that the request needs is still being loaded."""

    code = "model_loading"


class ModelUnavailable(ServiceError):
    """The tower that the request needs could not be loaded; the message says what was tried."""

    code = "model_unavailable"


class DeadlineExceeded(ServiceError):
    """Texts could not be encoded within the request's time."""

    code = "timeout"


class Cancelled(ServiceError):
    """The caller has gone before its answer was ready."""

    code = "cancelled"


class EncodingError(EmbeddingError):
    """The engine raised on, or gave no finite vector for, this one item."""


class ImageError(EmbeddingError):
    """One image could not be embedded.

    `str(error)` is public; `reason` is for the log only. `retryable` says whether the same image may work later.
    """

    retryable = False

    def __init__(self, message: str, *, reason: str = "", retryable: bool | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        if retryable is not None:
            self.retryable = retryable


class FetchError(ImageError):
    """The image's bytes could not be had."""


class InvalidUrl(FetchError):
    """Not a URL that this function reads."""

    code = "invalid_url"


class BlockedUrl(FetchError):
    """The URL leads where this function must not go. One public message for all, so that nobody can probe a network."""

    code = "blocked_url"

    def __init__(self, reason: str) -> None:
        super().__init__("this URL may not be fetched", reason=reason)


class DnsFailure(FetchError):
    """The host's name could not be resolved."""

    code = "dns_failure"
    retryable = True


class ConnectFailed(FetchError):
    """No connection to the host."""

    code = "connect_failed"
    retryable = True


class TlsFailed(FetchError):
    """The TLS handshake or the certificate check failed."""

    code = "tls_failed"


class FetchTimeout(FetchError):
    """The download did not end within its deadline."""

    code = "timeout"
    retryable = True


class HttpStatus(FetchError):
    """The server answered with another status than 200; `retryable` for 429 and 5xx."""

    code = "http_status"


class BadResponse(FetchError):
    """What the server sent is not HTTP, or ended early."""

    code = "bad_response"
    retryable = True


class TooManyRedirects(FetchError):
    """The redirects did not end."""

    code = "too_many_redirects"


class BodyTooLarge(FetchError):
    """More bytes than the limit."""

    code = "too_large"


class UnsupportedType(FetchError):
    """A content type or encoding that cannot be an image we read."""

    code = "unsupported_type"


class ObjectNotFound(FetchError):
    """No such object in the bucket."""

    code = "not_found"


class ObjectForbidden(FetchError):
    """The function's service account may not read the object."""

    code = "forbidden"


class DecodeError(ImageError):
    """The bytes did not become a picture."""


class NotAnImage(DecodeError):
    """The bytes do not start like any format on the allow-list."""

    code = "not_an_image"


class UnsupportedImage(DecodeError):
    """A format, or a variant of one, that is not supported; the message names it."""

    code = "unsupported_type"


class TooManyPixels(DecodeError):
    """A side or the area is over the limit."""

    code = "too_many_pixels"


class TooComplex(DecodeError):
    """The file would cost far more time to decode than its size tells."""

    code = "too_complex"


class CorruptImage(DecodeError):
    """The file is truncated or broken."""

    code = "corrupt_image"


class ImageTimeout(ImageError):
    """The image was not fetched or encoded before the request had to end."""

    code = "timeout"
    retryable = True


@dataclass(frozen=True)
class ItemError:
    """An image's failure as the response carries it: `index` in the request, `url` without query string."""

    index: int
    url: str
    code: str
    detail: str
    retryable: bool

    def at(self, index: int) -> "ItemError":
        """The same failure, counted elsewhere."""
        return replace(self, index=index)


class ImagesFailed(RequestError):
    """Images failed although none may; `items` lists them all, `locs` the path to each.

    Their indices count in `field`, unless `place` says which field and place an index means.
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
