"""The protocols that this function speaks. A new one is one module and one line here."""

from collections.abc import Iterable

from functions import bigquery, cohere, immich, native, openai, operation, weaviate
from functions.route import Protocol, routes_of

# By the names that CLIP_PROTOCOLS takes; the function's own protocol is always there.
OPTIONAL = {
    "openai": openai.PROTOCOL,
    "cohere": cohere.PROTOCOL,
    "weaviate": weaviate.PROTOCOL,
    "immich": immich.PROTOCOL,
    "bigquery": bigquery.PROTOCOL,
}
SPOKEN = (native.PROTOCOL, *OPTIONAL.values())


def with_operation(spoken: tuple[Protocol, ...]) -> tuple[Protocol, ...]:
    """`spoken`, and the routes that say what runs here; these list and document all of them."""
    return (*spoken, operation.protocol(spoken))


def speaking(names: Iterable[str]) -> tuple[Protocol, ...]:
    """The function's own protocol, those of these names, and the operator's routes."""
    chosen = frozenset(names)
    optional = (own for name, own in OPTIONAL.items() if name in chosen)
    return with_operation((native.PROTOCOL, *optional))


PROTOCOLS = with_operation(SPOKEN)
ROUTES = routes_of(PROTOCOLS)
