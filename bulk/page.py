"""Writes search results as one HTML file: the images and their cosines."""

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image as Pillow

from bulk.errors import BulkError
from bulk.inputs import open_input
from bulk.inputs.reader import Columns
from bulk.inputs.values import RELATIVE
from bulk.location import Location
from bulk.run_file import RunFile
from bulk.shards import Shards
from bulk.vectors import Hit
from common.items import Image, ImageBytes, ImageUrl

THUMBNAIL = (320, 320)
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; }
h1 { font-size: 1.25rem; margin: .5rem 0 0; overflow-wrap: anywhere; }
h1 + p { padding: 0; }
ol { display: grid; gap: 1rem; list-style: none; padding: 0;
  grid-template-columns: repeat(auto-fill, minmax(min(12rem, 42vw), 1fr)); }
li { border: 1px solid color-mix(in srgb, currentColor 20%, transparent); border-radius: .5rem;
  overflow: hidden; }
img { aspect-ratio: 1; background: #fff; box-sizing: border-box; display: block;
  object-fit: contain; padding: .5rem; width: 100%; }
p { font-size: .875rem; margin: 0; overflow-wrap: anywhere; padding: .5rem .75rem; }
b { display: block; font-size: 1rem; font-variant-numeric: tabular-nums; }
"""


@dataclass(frozen=True)
class Card:
    """A hit with its text and the URL of its image. Either may be empty."""

    hit: Hit
    image: str
    text: str


def cards_of(hits: Sequence[Hit], run: RunFile, input_uri: str) -> list[Card]:
    """The hits with their images and texts, which are read from the run's input.

    If the input no longer exists, the cards have only ids.
    """
    settings = run.settings
    columns = Columns(
        str(settings["text-column"]), str(settings["image-column"]), str(settings["id-column"])
    )
    try:
        root, reader = open_input(input_uri, columns)
    except BulkError:
        return [Card(hit, "", "") for hit in hits]
    shards = Shards([file.rows for file in reader.files], run.shard_rows)
    cards = []
    for hit in hits:
        rows = reader.read(shards.spans(hit.row, hit.row + 1), hit.row)
        image = rows.images[0] if rows.images else None
        text = rows.texts[0] if rows.texts else None
        cards.append(Card(hit, _source(image, root), text or ""))
    return cards


def page_of(query: str, cards: Sequence[Card], run: RunFile) -> str:
    """The page as HTML."""
    title = html.escape(f"“{query}”")
    about = html.escape(f"the nearest {len(cards)} of {run.rows:,} rows · model {run.model}")
    shown = "\n".join(map(_shown, cards))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style></head>\n"
        f'<body><h1 dir="auto">{title}</h1>\n<p>{about}</p>\n<ol>\n{shown}\n</ol></body></html>\n'
    )


def _shown(card: Card) -> str:
    image = f'<img src="{html.escape(card.image)}" alt="" loading="lazy">' if card.image else ""
    text = f'<p dir="auto">{html.escape(card.text)}</p>' if card.text else ""
    name = html.escape(card.hit.id).replace("/", "/<wbr>")  # a long path breaks at its folders
    label = f"<p><b>{card.hit.cosine:.3f}</b>{name}</p>"
    return f"<li>{image}{text}{label}</li>"


def _source(image: Image | None, root: Location) -> str:
    """The image's URL for a browser: a web URL, or a data: URL with a thumbnail."""
    match image:
        case ImageBytes(data):
            return _thumbnail(data)
        case ImageUrl(url) if url.startswith(f"{RELATIVE}:"):
            file = root.child(url.partition(":")[2])
            return _thumbnail(file.read()) if file.info().is_file else ""
        case ImageUrl(url) if url.lower().startswith(("http://", "https://", "data:")):
            return url
        case _:
            return ""


def _thumbnail(data: bytes) -> str:
    """A thumbnail as a data: URL; empty if Pillow cannot read the file."""
    try:
        with Pillow.open(io.BytesIO(data)) as image:
            image.thumbnail(THUMBNAIL)
            file = io.BytesIO()
            image.convert("RGBA").save(file, "WEBP")
    except (OSError, ValueError, Pillow.DecompressionBombError):
        return ""
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
