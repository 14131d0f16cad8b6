"""Images as data: URLs."""

import base64

from export.emoji import picture_of


def data_url(body: bytes, kind: str = "image/png") -> str:
    """The file as a data: URL."""
    return f"data:{kind};base64,{base64.b64encode(body).decode()}"


FOX, PIZZA = (data_url(picture_of(name)) for name in ("fox", "pizza"))
