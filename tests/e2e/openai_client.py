"""OpenAI's own client, pointed at a server under test."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai

from tests.e2e.server import Server


@contextmanager
def client_of(server: Server, key: str = "any", **options: Any) -> Iterator[openai.OpenAI]:
    """A client of `server`; `options` are those of openai.OpenAI."""
    with openai.OpenAI(base_url=server.url + "/v1", api_key=key, **options) as client:
        yield client
