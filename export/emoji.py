"""The 400 emoji that models are measured on: images in two styles and names in 13 languages."""

import io
import json
from functools import cache
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).with_name("data")
STYLES = ("google", "twitter")  # the demo models were trained on the first, not on the second
LANGUAGES = ("de", "el", "ru", "ar", "he", "hi", "th", "ka", "ja", "ko", "zh", "bn")
COLUMNS = 20
SIZE = 64  # pixels


@cache
def names() -> list[dict[str, str]]:
    """The short names of each emoji by language, in the order of the sheets; `en` always exists."""
    entries: list[dict[str, str]] = json.loads((FOLDER / "emoji.json").read_text("utf-8"))
    return entries


@cache
def sheet(style: str) -> Image.Image:
    """All images of a style on one RGBA sheet, COLUMNS in each row."""
    with Image.open(FOLDER / f"{style}.webp") as image:
        return image.convert("RGBA")


def picture_at(index: int, style: str = "google") -> bytes:
    """The emoji at `index` as a PNG file with a transparent background."""
    left = index % COLUMNS * SIZE
    top = index // COLUMNS * SIZE
    file = io.BytesIO()
    sheet(style).crop((left, top, left + SIZE, top + SIZE)).save(file, "PNG")
    return file.getvalue()


def picture_of(name: str, style: str = "google") -> bytes:
    """The emoji with this English name as a PNG file. Raises ValueError for an unknown name."""
    return picture_at([entry["en"] for entry in names()].index(name), style)
