"""Recognizes requests of Weaviate's modules.

The modules give up after 50 s and do not retry after 429 or 503. So their requests end earlier,
and wait in the queue as long as they can still be answered in that time.
"""

from functions.request_record import Headers

TIMEOUT_S = 45.0  # the module's 50 s less the time of the network
SOURCE = "Request-Source"  # modules that call other providers' APIs send this header


def is_weaviate(headers: Headers) -> bool:
    """Whether the request says that it comes from Weaviate."""
    return headers.get(SOURCE, "").lower().endswith(":weaviate")
