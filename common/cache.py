"""A cache of text vectors, bounded in memory: search backends send the same queries again and again."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cachetools import LRUCache

from common.batcher import Vector

ENTRY_BYTES = 400  # of an entry's objects beside its text and its numbers


@dataclass(frozen=True)
class EncodedText:
    """What is known of one text: its unit vector, whether it was cut, how many tokens were read, and its length."""

    vector: Vector
    truncated: bool
    tokens: int
    characters: int

    @property
    def size_bytes(self) -> int:
        """Memory that it takes in a cache, its text included."""
        return ENTRY_BYTES + 4 * self.characters + self.vector.nbytes


class TextCache:
    """The least recently used texts leave first. A process serves one model for its life, so the text is the key.

    `max_bytes` 0 keeps nothing. Safe to use from any thread.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: LRUCache[str, EncodedText] = LRUCache(
            max_bytes, getsizeof=lambda entry: entry.size_bytes
        )
        self._lock = threading.Lock()

    def find(self, texts: Iterable[str]) -> dict[str, EncodedText]:
        """Those of the texts that are known."""
        if not self._max_bytes:
            return {}
        with self._lock:
            return {text: self._entries[text] for text in texts if text in self._entries}

    def add(self, encoded: Mapping[str, EncodedText]) -> None:
        """Keep these, as far as there is room."""
        with self._lock:
            for text, entry in encoded.items():
                if entry.size_bytes <= self._max_bytes:
                    own = entry.vector.copy()  # a row of a batch's result would keep all of it
                    self._entries[text] = replace(entry, vector=own)
