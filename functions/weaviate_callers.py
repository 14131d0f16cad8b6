"""Weaviate's modules give up after 50 s, and try again after neither 429 nor 503.

So their requests end before that, and wait in the queue for as long as that time can be kept.
"""

from functions.request_record import Headers

TIMEOUT_S = 45.0  # the module's own 50 s, less what the way there and back takes
SOURCE = "Request-Source"  # what the modules that call other providers' APIs send


def is_weaviate(headers: Headers) -> bool:
    """Whether the request names Weaviate as its source."""
    return headers.get(SOURCE, "").lower().endswith(":weaviate")
