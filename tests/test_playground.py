"""The playground's file: its policy allows its content, and its samples are the demo's images."""

import base64
import hashlib
import io
import re

import numpy as np
import pytest
from PIL import Image

from export.emoji import picture_of
from functions.playground import PAGE, policy

TEXT = PAGE.read_text("utf-8")
SAMPLES = dict(
    re.findall(r"^  (\w+): 'data:image/webp;base64,([A-Za-z0-9+/=]+)',$", TEXT, re.MULTILINE)
)


def test_the_policy_allows_this_script_and_style_and_no_other() -> None:
    for element in ("script", "style"):
        inside = TEXT.partition(f"<{element}>")[2].partition(f"</{element}>")[0]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}';" in policy(TEXT.encode())
    assert "unsafe" not in policy(TEXT.encode())


def test_a_page_whose_script_is_not_one_has_no_policy() -> None:
    with pytest.raises(ValueError, match="values to unpack"):
        policy(b"<script>1</script><style></style><script>2</script>")


def test_it_is_one_file_that_names_no_other_host() -> None:
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//|@import|\burl\(|\bimport\(""", TEXT)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", TEXT
    )
    assert len(TEXT.encode()) <= 60 * 1024


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_sample_looks_as_the_demo_s_own_picture(name: str) -> None:
    def pixels(file: bytes) -> np.ndarray:  # type: ignore[type-arg]
        with Image.open(io.BytesIO(file)) as image:
            white = Image.new("RGBA", image.size, "white")
            return np.asarray(
                Image.alpha_composite(white, image.convert("RGBA")).convert("RGB"), np.float32
            )

    difference = np.abs(pixels(base64.b64decode(SAMPLES[name])) - pixels(picture_of(name)))
    assert difference.mean() < 6  # of 255


def test_there_are_eight_samples() -> None:
    assert len(SAMPLES) == 8
