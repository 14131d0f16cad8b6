"""Write the fixed set of emoji that the tests measure on.

python -m tests.training.test_set emoji-data export/data
"""

import json
import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from export.emoji import COLUMNS, LANGUAGES, SIZE, STYLES
from tests.training.data import Emoji

COUNT, SEED = 400, 11
ALWAYS = (
    "fox",
    "pizza",
    "dog",
    "cat",
    "automobile",
    "rocket",
    "sushi",
    "guitar",
    "red heart",
    "tree",
    "house",
    "banana",
)


def choose(emoji: list[Emoji]) -> list[int]:
    """Indices of COUNT emoji that are named in all LANGUAGES, among them ALWAYS."""
    named = [
        index
        for index, item in enumerate(emoji)
        if all(language in item.names for language in LANGUAGES)
    ]
    always = [index for index in named if emoji[index].names["en"] in ALWAYS]
    others = [index for index in named if index not in always]
    return sorted(always + random.Random(SEED).sample(others, COUNT - len(always)))


def main(data: Path, out: Path) -> None:
    """Write emoji.json and a sheet for each of STYLES to `out`."""
    emoji = [Emoji(**item) for item in json.loads((data / "emoji.json").read_text("utf-8"))]
    chosen = choose(emoji)
    out.mkdir(parents=True, exist_ok=True)
    entries = [
        {"emoji": emoji[index].char}
        | {language: emoji[index].names[language] for language in ("en", *LANGUAGES)}
        for index in chosen
    ]
    (out / "emoji.json").write_text(
        json.dumps(entries, ensure_ascii=False, indent=0) + "\n", "utf-8"
    )
    with np.load(data / "images.npz") as arrays:
        for style in STYLES:
            sheet = Image.new("RGBA", (COLUMNS * SIZE, -(-COUNT // COLUMNS) * SIZE))
            for place, index in enumerate(chosen):
                sheet.paste(
                    Image.fromarray(arrays[style][index]),
                    (place % COLUMNS * SIZE, place // COLUMNS * SIZE),
                )
            sheet.save(out / f"{style}.webp", lossless=True, exact=False, method=6)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
