"""Emoji, their images in several styles and their names in many languages, from npm packages.

    npm install emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0 \
        cldr-annotations-full@48.2.0 cldr-annotations-derived-full@48.2.0 \
        @iconify-json/fluent-emoji-flat@1.2.6 @iconify-json/fxemoji@1.2.2 \
        @iconify-json/emojione@1.2.3 @iconify-json/openmoji@1.2.29 @iconify-json/noto-v1@1.2.5
    python -m tests.training.data node_modules emoji-data

writes `emoji.json` and `images.npz`, which has one array (emoji, 64, 64, 4) uint8 RGBA per style.
It is all zero for an emoji that the style lacks. The SVG styles are rendered with resvg-py 0.5.0.
"""

import io
import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = 64  # pixels of a side
PNG_STYLES = ("google", "twitter")
SVG_STYLES = ("fluent-emoji-flat", "fxemoji", "emojione", "openmoji", "noto-v1")
UNSEEN_STYLE = "twitter"  # never trained on
LANGUAGES = (
    "af am ar az be bg bn ca cs cy da de el en es et eu fa fi fil fr ga gl gu he hi hr hu hy id is "
    "it ja ka kk km kn ko ky lo lt lv mk ml mn mr ms my nb ne nl pa pl pt ro ru si sk sl sq sr sv "
    "sw ta te th tr uk ur uz vi yue zh zu"
).split()

Rgba = NDArray[np.uint8]  # (SIZE, SIZE, 4)


@dataclass(frozen=True)
class Emoji:
    """One emoji.

    It has its code points as the packages spell them, Unicode's name, and short names and keywords
    by language.
    """

    char: str
    unified: str
    unicode_name: str
    names: dict[str, str]
    keywords: dict[str, list[str]]


def read_annotations(node_modules: Path, language: str) -> dict[str, Any]:
    """CLDR's annotations of one language, including derived ones.

    A character maps to {"default": keywords, "tts": [name]}.
    """
    merged: dict[str, Any] = {}
    for package, key in (
        ("cldr-annotations-full", "annotations"),
        ("cldr-annotations-derived-full", "annotationsDerived"),
    ):
        path = node_modules / package / key / language / "annotations.json"
        if path.exists():
            merged |= json.loads(path.read_text("utf-8"))[key]["annotations"]
    return merged


def read_emoji(node_modules: Path) -> list[Emoji]:
    """All emoji with an English name and an image in both PNG styles; no flags or skin tones."""
    entries = json.loads(
        (node_modules / "emoji-datasource-google" / "emoji.json").read_text("utf-8")
    )
    annotations = {language: read_annotations(node_modules, language) for language in LANGUAGES}
    emoji = []
    for entry in sorted(entries, key=lambda entry: entry["sort_order"]):
        if entry["category"] in ("Flags", "Component") or not (
            entry["has_img_google"] and entry["has_img_twitter"]
        ):
            continue
        char = "".join(chr(int(code, 16)) for code in entry["unified"].split("-"))
        found = {
            language: table.get(char) or table.get(char.replace("\ufe0f", "")) or {}
            for language, table in annotations.items()
        }
        names = {language: item["tts"][0] for language, item in found.items() if item.get("tts")}
        keywords = {
            language: item["default"] for language, item in found.items() if item.get("default")
        }
        if "en" in names:
            emoji.append(
                Emoji(char, entry["unified"].lower(), entry["name"] or names["en"], names, keywords)
            )
    return emoji


def read_png_style(node_modules: Path, style: str, emoji: list[Emoji]) -> list[Rgba | None]:
    """Images of an emoji-datasource package."""
    folder = node_modules / f"emoji-datasource-{style}" / "img" / style / "64"
    return [_rgba(Image.open(folder / f"{item.unified}.png")) for item in emoji]


def read_svg_style(node_modules: Path, style: str, emoji: list[Emoji]) -> list[Rgba | None]:
    """Images of an icon set, rendered; None where the set lacks the emoji."""
    import resvg_py

    folder = node_modules / "@iconify-json" / style
    chars, icons = (
        json.loads((folder / name).read_text("utf-8")) for name in ("chars.json", "icons.json")
    )
    pictures: list[Rgba | None] = []
    for item in emoji:
        icon = _find_icon(
            icons,
            [chars.get(item.unified), chars.get(item.unified.replace("-fe0f", "")), *_slugs(item)],
        )
        if icon is None:
            pictures.append(None)
            continue
        width, height = (
            icon.get("width", icons.get("width", 16)),
            icon.get("height", icons.get("height", 16)),
        )
        spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
        svg = f'<svg {spaces} viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
        png = resvg_py.svg_to_bytes(svg_string=svg, width=SIZE, height=SIZE, skip_system_fonts=True)
        pictures.append(_rgba(Image.open(io.BytesIO(bytes(png)))))
    return pictures


def _slugs(item: Emoji) -> list[str]:
    """Names that a set without code points may use: with hyphens, or without spaces."""
    slugs = [
        "-".join(re.findall(r"[a-z0-9]+", name.lower()))
        for name in (item.names["en"], item.unicode_name)
    ]
    return slugs + [slug.replace("-", "") for slug in slugs]


def _find_icon(icons: dict[str, Any], names: list[str | None]) -> dict[str, Any] | None:
    for name in names:
        parent = icons.get("aliases", {}).get(name, {}).get("parent", name)
        if parent in icons["icons"]:
            icon: dict[str, Any] = icons["icons"][parent]
            return icon
    return None


def _rgba(image: Image.Image) -> Rgba:
    """The image centred on a transparent square of SIZE."""
    image = image.convert("RGBA")
    image.thumbnail((SIZE, SIZE), Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (SIZE, SIZE))
    square.paste(image, ((SIZE - image.width) // 2, (SIZE - image.height) // 2))
    return np.asarray(square)


def main(node_modules: Path, out: Path) -> None:
    """Write emoji.json and images.npz to `out`."""
    emoji = read_emoji(node_modules)
    styles = {style: read_png_style(node_modules, style, emoji) for style in PNG_STYLES}
    styles |= {style: read_svg_style(node_modules, style, emoji) for style in SVG_STYLES}
    out.mkdir(parents=True, exist_ok=True)
    (out / "emoji.json").write_text(
        json.dumps([asdict(item) for item in emoji], ensure_ascii=False), "utf-8"
    )
    absent = np.zeros((SIZE, SIZE, 4), np.uint8)
    arrays = {
        style: np.stack([absent if picture is None else picture for picture in pictures])
        for style, pictures in styles.items()
    }
    np.savez(out / "images.npz", allow_pickle=False, **arrays)
    for style, array in arrays.items():
        print(f"{style}: {int(array.any(axis=(1, 2, 3)).sum())} of {len(emoji)} emoji")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
