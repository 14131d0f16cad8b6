"""Checks API keys."""

import hashlib
import hmac
from collections.abc import Sequence

from functions.errors import Unauthorized
from functions.request_record import Headers


class ApiKeys:
    """The accepted API keys. Without any, every request passes.

    Keeps SHA-256 digests, so that a comparison takes the same time for every key.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def check(self, headers: Headers) -> None:
        """Raise Unauthorized unless `Authorization: Bearer` or `X-API-Key` has an accepted key.

        Azure's clients send theirs as `api-key`.
        """
        if not self._digests:
            return
        scheme, _, bearer = headers.get("Authorization", "").partition(" ")
        given = [bearer.strip()] if scheme.lower() == "bearer" else []
        given += [headers.get(name, "") for name in ("X-API-Key", "api-key")]
        matches = [
            hmac.compare_digest(_digest(key), known) for key in given for known in self._digests
        ]
        if not any(matches):
            raise Unauthorized(
                "no valid API key: send `Authorization: Bearer KEY` or `X-API-Key: KEY`"
            )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
