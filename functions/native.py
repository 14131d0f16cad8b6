"""The function's own protocol. Each route has its own module."""

from functions import image, listed, mixed, rank, text
from functions.route import Protocol

PROTOCOL = Protocol(
    tag="Embedding",
    description="The function's own routes.",
    routes=(text.ROUTE, image.ROUTE, mixed.ROUTE, listed.ROUTE, rank.ROUTE),
)
