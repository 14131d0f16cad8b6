"""The protocols that this function speaks. A new one is one module and one line here."""

from functions import bigquery, native, openai, operation, weaviate
from functions.route import Protocol, routes_of

SPOKEN = (
    native.PROTOCOL,
    openai.PROTOCOL,
    weaviate.PROTOCOL,
    bigquery.PROTOCOL,
)


def with_operation(spoken: tuple[Protocol, ...]) -> tuple[Protocol, ...]:
    """`spoken`, and the routes that say what runs here; these list and document all of them."""
    return (*spoken, operation.protocol(spoken))


PROTOCOLS = with_operation(SPOKEN)
ROUTES = routes_of(PROTOCOLS)
