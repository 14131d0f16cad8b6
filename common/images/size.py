"""The size of an image that its file tells, without decoding it."""

import math
from functools import partial

from common.errors import CorruptImage
from common.images.formats import refusal, sniff
from common.images.image_file import open_file, parse
from common.images.reader import bounded_reader

SECONDS = 1.0  # of looking at the structure of one file


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height as the file has them, before any orientation. Raises DecodeError."""
    image_format = sniff(data)
    if image_format is None:
        raise refusal(data)
    reader = partial(bounded_reader, seconds=SECONDS, deadline=math.inf)
    try:
        image, file = open_file(parse(data, image_format, is_first_frame_wanted=True), reader)
    except (OSError, ValueError, SyntaxError) as error:
        reason = type(error).__name__
        raise CorruptImage(f"the {image_format} file is broken", reason=reason) from error
    with image:
        return file.canvas or image.size
