"""The protocols that the function supports. A new one is one module and one line here."""

from collections.abc import Iterable

from functions import (
    bigquery,
    cohere,
    immich,
    native,
    ollama,
    openai,
    operation,
    tei,
    voyage,
    weaviate,
)
from functions.route import Protocol

# By the names in CLIP_PROTOCOLS. The function's own protocol is always on.
OPTIONAL = {
    "openai": openai.PROTOCOL,
    "cohere": cohere.PROTOCOL,
    "voyage": voyage.PROTOCOL,
    "ollama": ollama.PROTOCOL,
    "tei": tei.PROTOCOL,
    "weaviate": weaviate.PROTOCOL,
    "immich": immich.PROTOCOL,
    "bigquery": bigquery.PROTOCOL,
}


def with_operation(
    spoken: tuple[Protocol, ...], has_playground: bool = True
) -> tuple[Protocol, ...]:
    """`spoken` and the operator's routes, which list and document all routes."""
    return (*spoken, operation.protocol(spoken, has_playground))


def speaking(names: Iterable[str], has_playground: bool = True) -> tuple[Protocol, ...]:
    """The function's own protocol, the optional protocols in `names`, and the operator's routes."""
    chosen = frozenset(names)
    optional = (own for name, own in OPTIONAL.items() if name in chosen)
    return with_operation((native.PROTOCOL, *optional), has_playground)
