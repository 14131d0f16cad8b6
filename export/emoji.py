"""The 400 emoji that models are measured on: a sheet of pictures by style, and names in 13 languages."""

import io
import json
from functools import cache
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).with_name("data")
STYLES = ("google", "twitter")  # trained on, never seen
LANGUAGES = ("de", "el", "ru", "ar", "he", "hi", "th", "ka", "ja", "ko", "zh", "bn")
COLUMNS, SIZE = 20, 64


@cache
def names() -> list[dict[str, str]]:
    """By emoji, in the order of the sheets: language → short name; `en` is always there."""
    entries: list[dict[str, str]] = json.loads((FOLDER / "emoji.json").read_text("utf-8"))
    return entries


@cache
def sheet(style: str) -> Image.Image:
    """All pictures of a style, COLUMNS a row, RGBA."""
    with Image.open(FOLDER / f"{style}.webp") as image:
        return image.convert("RGBA")


def picture_at(index: int, style: str = "google") -> bytes:
    """Picture `index` as a PNG file, transparent around it."""
    left, top = index % COLUMNS * SIZE, index // COLUMNS * SIZE
    file = io.BytesIO()
    sheet(style).crop((left, top, left + SIZE, top + SIZE)).save(file, "PNG")
    return file.getvalue()


def picture_of(name: str, style: str = "google") -> bytes:
    """The PNG file of the emoji with that English name."""
    return picture_at([entry["en"] for entry in names()].index(name), style)
