"""The library's error tree. Each class has a stable public `code`.

    EmbeddingError
    ├── ModelNotFound               model_not_found
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

Messages are for people: they name the field, the kind of value and the limit. They never contain a
stack trace, a path, an internal address or a URL's query string. Details that only the operator may
read go into the `reason` of an ImageError.
"""

from dataclasses import dataclass, replace


class EmbeddingError(Exception):
    """An unexpected error of the service. Quote the request id when you report it.

    All errors of this project derive from it; `str(error)` is the public message.
    """

    code = "internal"


class ModelNotFound(EmbeddingError):
    """There is no model with this name, or the service does not serve it."""

    code = "model_not_found"


class ServiceError(EmbeddingError):
    """The service cannot answer now; the same request may succeed after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(ServiceError):
    """The queue is full, or the request would wait too long.

    The same request would be refused for `lasts_s` seconds more, even if no other came.
    """

    code = "overloaded"

    def __init__(
        self, message: str, retry_after_s: float | None = None, lasts_s: float = 0.0
    ) -> None:
        super().__init__(message, retry_after_s)
        self.lasts_s = lasts_s


class ModelLoading(ServiceError):
    """The text or image encoder that the request needs is still loading."""

    code = "model_loading"


class ModelUnavailable(ServiceError):
    """The encoder that the request needs could not be loaded; the message says what was tried."""

    code = "model_unavailable"


class DeadlineExceeded(ServiceError):
    """Texts could not be encoded within the request's time."""

    code = "timeout"


class Cancelled(ServiceError):
    """The call was cancelled, for example because the caller disconnected."""

    code = "cancelled"


class EncodingError(EmbeddingError):
    """The engine failed on this one item, or returned a vector that is not finite."""


class ImageError(EmbeddingError):
    """One image could not be embedded.

    `str(error)` is public; `reason` is for the log only. `retryable` says whether the same image
    may work later.
    """

    retryable = False

    def __init__(self, message: str, *, reason: str = "", retryable: bool | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        if retryable is not None:
            self.retryable = retryable


class FetchError(ImageError):
    """The image file could not be read from its source."""


class InvalidUrl(FetchError):
    """The URL is invalid, or its scheme is not supported."""

    code = "invalid_url"


class BlockedUrl(FetchError):
    """The URL points to an address that downloads must not reach.

    All cases share one public message, so that callers cannot probe the network with it.
    """

    code = "blocked_url"

    def __init__(self, reason: str) -> None:
        message = "this URL points to an address that this service does not fetch from"
        super().__init__(message, reason=reason)


class DnsFailure(FetchError):
    """The host name could not be resolved."""

    code = "dns_failure"
    retryable = True


class ConnectFailed(FetchError):
    """No connection to the host could be made."""

    code = "connect_failed"
    retryable = True


class TlsFailed(FetchError):
    """The TLS handshake or the certificate check failed."""

    code = "tls_failed"


class FetchTimeout(FetchError):
    """The download did not finish before its deadline."""

    code = "timeout"
    retryable = True


class HttpStatus(FetchError):
    """The server answered with an error status; `retryable` says whether it may be temporary."""

    code = "http_status"


class BadResponse(FetchError):
    """The response is not valid HTTP, or ended early."""

    code = "bad_response"
    retryable = True


class TooManyRedirects(FetchError):
    """The server redirected more often than the limit."""

    code = "too_many_redirects"


class BodyTooLarge(FetchError):
    """The image file is larger than the limit."""

    code = "too_large"


class UnsupportedType(FetchError):
    """The content type or the content encoding is not supported."""

    code = "unsupported_type"


class ObjectNotFound(FetchError):
    """The bucket or the object does not exist."""

    code = "not_found"


class ObjectForbidden(FetchError):
    """The function's service account may not read the object."""

    code = "forbidden"


class DecodeError(ImageError):
    """The image file could not be decoded."""


class NotAnImage(DecodeError):
    """The first bytes match no known image format."""

    code = "not_an_image"


class UnsupportedImage(DecodeError):
    """The format, or this variant of it, is not supported; the message names it."""

    code = "unsupported_type"


class TooManyPixels(DecodeError):
    """A side or the area of the image is over the limit."""

    code = "too_many_pixels"


class TooComplex(DecodeError):
    """The file would take far more time to decode than its size suggests."""

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
    """One item's failure as the response shows it.

    `index` is the item's place in the request; `url` has no query string.
    """

    index: int
    url: str
    code: str
    detail: str
    retryable: bool

    def at(self, index: int) -> "ItemError":
        """The same failure with another index."""
        return replace(self, index=index)
