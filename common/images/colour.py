"""Converts an image from the colours of its ICC profile to sRGB.

It runs on the small image after the resize, where it takes little time. A profile is ignored if it
is broken, too large or does not fit the image's samples. Browsers show such an image as sRGB.
Reference: ICC.1:2022, sections 7.2 (header) and 7.3 (tags).
"""

import hashlib
import io
import threading

import cachetools
import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 2 * 2**20
MAX_TRANSFORMS = 16  # in the cache: building one takes milliseconds and up to 2 MB of memory
LARGEST_NO_CHANGE = 2  # of 255 levels: a transform that changes no colour by more is skipped
_HEADER_BYTES = 128
_MAX_TAGS = 100
_SPACES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}  # a profile's space → Pillow's mode
_CLASSES = (b"scnr", b"mntr", b"prtr", b"spac")
# Tags of floating-point pipelines, where littlecms would run any number of steps for each point.
_FLOAT_TAGS = (b"D2B", b"B2D")
_GRID_LEVELS = 6  # per channel, of the colours that a transform is tested with


class Transform:
    """Converts samples of `mode` ("RGB", "L" or "CMYK") to sRGB. Safe to use from any thread."""

    def __init__(self, mode: str, transform: ImageCms.ImageCmsTransform) -> None:
        self.mode = mode
        self._transform = transform

    def apply(self, image: Image.Image) -> Image.Image:
        """Convert to RGB; an image of mode RGBA or LA becomes RGBA with the same alpha."""
        if image.mode not in ("RGBA", "LA"):
            return self._converted(image)
        alpha = image.getchannel("A")
        converted = self._converted(image.convert(self.mode))
        converted.putalpha(alpha)
        return converted

    def _converted(self, image: Image.Image) -> Image.Image:
        converted = Image.new("RGB", image.size)
        self._transform.apply(image, converted)
        return converted


def find_transform(profile: bytes | None, mode: str) -> Transform | None:
    """The transform of an image of `mode` to sRGB; None if it is not needed or not usable."""
    if not profile or len(profile) > MAX_PROFILE_BYTES:
        return None
    space = _SPACES.get(profile[16:20])
    samples = {"RGBA": "RGB", "P": "RGB", "PA": "RGB", "LA": "L"}.get(mode, mode)
    if space is None or samples != space:
        return None
    return _build(profile, space)


def is_grey(profile: bytes | None) -> bool:
    """Whether the profile describes grey samples."""
    return profile is not None and profile[16:20] == b"GRAY"


@cachetools.cached(
    cachetools.LRUCache(MAX_TRANSFORMS),
    key=lambda profile, mode: (hashlib.sha256(profile).digest(), mode),
    lock=threading.Lock(),
)
def _build(profile: bytes, mode: str) -> Transform | None:
    if not _is_plausible(profile):
        return None
    try:
        # NOCACHE turns off littlecms' own cache, which is not safe to share between threads.
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.NOCACHE | ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    built = Transform(mode, transform)
    return None if mode != "CMYK" and _changes_nothing(built) else built


def _is_plausible(profile: bytes) -> bool:
    """Whether the header is valid, of a device or a colour space, and all tags are simple."""
    if len(profile) < _HEADER_BYTES + 4 or profile[36:40] != b"acsp":
        return False
    count = int.from_bytes(profile[128:132], "big")
    if profile[12:16] not in _CLASSES or count > _MAX_TAGS:
        return False
    tags = (profile[132 + 12 * number : 136 + 12 * number] for number in range(count))
    return not any(tag[:3] in _FLOAT_TAGS for tag in tags)


def _changes_nothing(transform: Transform) -> bool:
    """Whether the transform is the identity, up to LARGEST_NO_CHANGE. Most profiles are sRGB."""
    levels = np.linspace(0, 255, _GRID_LEVELS).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    if transform.mode == "L":
        grid = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    image = Image.fromarray(grid)
    changed = np.asarray(transform.apply(image.convert(transform.mode)))
    return bool(np.abs(changed.astype(int) - grid).max() <= LARGEST_NO_CHANGE)
