"""The limits in docs/requests.md are the decoder's."""

import io
import re
from pathlib import Path

import pytest
from PIL import Image

from common.images.avif import STREAM_BYTES
from common.images.cost import pixel_bytes
from common.images.formats import sniff
from common.images.image_file import parse
from common.images.memory_budget import LEAST_DECODE_BYTES, MOST_DECODE_BYTES
from tests.hostile.seeds import colours, png_bomb
from tests.variants import saved

SIDE = 1024  # whole blocks, so that no frame is rounded up
LIMIT = 64
PAGE = Path(__file__).parent.parent / "docs/requests.md"
KINDS = {
    "PNG, BMP in RGB": lambda: png_bomb(SIDE, SIDE, 2),
    "PNG, GIF with transparency; palettes with it": lambda: png_bomb(SIDE, SIDE, 6),
    "PNG of 16 bits, grey": lambda: png_bomb(SIDE, SIDE, 0, 16),
    "WebP": lambda: saved(colours("RGB", (SIDE, SIDE)), "WEBP", method=0),
    "AVIF, 4:2:0 of 8 bits": lambda: saved(colours("RGB", (SIDE, SIDE)), "AVIF", speed=10),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_states_how_many_megapixels_fit(kind: str) -> None:
    stated = re.search(rf"\| {re.escape(kind)} \| (\d+) \| (\d+) \|", PAGE.read_text())
    assert stated is not None
    data = KINDS[kind]()
    file = parse(data, sniff(data) or "", is_first_frame_wanted=True)
    with Image.open(io.BytesIO(data)) as image:
        fixed = STREAM_BYTES if image.format == "AVIF" else 0  # whatever the number of pixels
        bytes_a_pixel = (pixel_bytes(image, file) - fixed) / SIDE**2
    budgets = (LEAST_DECODE_BYTES, MOST_DECODE_BYTES)
    for megapixels, budget in zip(map(int, stated.groups()), budgets, strict=True):
        assert megapixels == min(LIMIT, int(budget / bytes_a_pixel / 1e6))
