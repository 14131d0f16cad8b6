"""Bounds of reading and decoding images; light, so that settings can name them without Pillow."""

from dataclasses import dataclass

from common.version import SERVICE, VERSION


@dataclass(frozen=True)
class FetchLimits:
    """How images are read.

    `timeout_s` bounds one image with all its redirects and retries, `retries` counts the tries
    after the first, `max_bytes` bounds the file, also after inflating. `concurrency` is how many
    images of one call are read and decoded at a time.
    """

    timeout_s: float = 10.0
    retries: int = 2
    max_bytes: int = 20 * 2**20
    concurrency: int = 16
    user_agent: str = f"{SERVICE}/{VERSION}"


@dataclass(frozen=True)
class DecodeLimits:
    """`max_pixels` is for formats other than JPEG; `seconds` of processor time bound one decode.

    Processor time, because a decode that waits for memory or for a core is not to blame.
    """

    max_pixels: int = 64_000_000
    seconds: float = 5.0
