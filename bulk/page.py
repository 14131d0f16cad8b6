"""A page with what a search found: images beside their cosines, in one HTML file."""

import base64
import html
from collections.abc import Sequence

from bulk.inputs.values import as_image
from bulk.location import Location
from bulk.vectors import Hit
from common.items import ImageBytes, ImageUrl

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; }
h1 { font-size: 1.25rem; overflow-wrap: anywhere; }
ol { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr));
  list-style: none; padding: 0; }
li { border: 1px solid color-mix(in srgb, currentColor 20%, transparent); border-radius: .5rem;
  overflow: hidden; }
img { aspect-ratio: 1; background: #fff; display: block; object-fit: contain; width: 100%; }
p { margin: 0; overflow-wrap: anywhere; padding: .5rem; }
b { font-variant-numeric: tabular-nums; }
"""


def page_of(query: str, hits: Sequence[Hit], root: Location | None) -> str:
    """The page as text. `root` is where the images' paths begin; None: ids are not paths."""
    title = html.escape(f"“{query}”")
    cards = "\n".join(_card(hit, root) for hit in hits)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n<ol>\n{cards}\n</ol></body></html>\n"
    )


def _card(hit: Hit, root: Location | None) -> str:
    source = _source(hit.id, root)
    image = f'<img src="{html.escape(source)}" alt="" loading="lazy">' if source else ""
    return f"<li>{image}<p><b>{hit.cosine:.3f}</b> {html.escape(hit.id)}</p></li>"


def _source(id: str, root: Location | None) -> str:
    """Where a browser finds the image: a URL, or the file's bytes inside the page."""
    image = as_image(id)
    if isinstance(image, ImageUrl) and "://" in image.url:
        return image.url
    if root is None or isinstance(image, ImageBytes):
        return ""
    file = root.child(id)
    if not file.info().is_file:
        return ""
    return "data:;base64," + base64.b64encode(file.read()).decode("ascii")
