"""Limits on reading and decoding images; importing them does not import Pillow."""

from dataclasses import dataclass

from common.version import SERVICE, VERSION


@dataclass(frozen=True)
class FetchLimits:
    """Limits on reading images.

    `timeout_s` bounds one image with its redirects and retries. `retries` counts the tries after
    the first. `max_bytes` bounds the file, also after decompression. `concurrency` is the number of
    images of one call that are read and decoded at a time.
    """

    timeout_s: float = 10.0
    retries: int = 2
    max_bytes: int = 20 * 2**20
    concurrency: int = 16
    user_agent: str = f"{SERVICE}/{VERSION}"


@dataclass(frozen=True)
class DecodeLimits:
    """Limits on decoding images.

    `max_pixels` applies to formats other than JPEG. `seconds` bounds the processor time of one
    decode, so that waiting for memory or for a core does not count.
    """

    max_pixels: int = 64_000_000
    seconds: float = 5.0
