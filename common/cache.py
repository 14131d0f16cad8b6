"""A cache of text vectors, bounded in memory.

Search backends send the same queries again and again.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cachetools import LRUCache

from common.batcher import Vector

ENTRY_BYTES = 400  # of an entry's Python objects, without its text and its numbers


@dataclass(frozen=True)
class EncodedText:
    """One text's unit vector, whether the text was cut, and its length in tokens and characters."""

    vector: Vector
    truncated: bool
    tokens: int
    characters: int

    @property
    def size_bytes(self) -> int:
        """The memory that this entry takes in a cache, with its text."""
        return ENTRY_BYTES + 4 * self.characters + self.vector.nbytes


class TextCache:
    """Keeps the vectors of the most recently used texts of one model.

    `max_bytes` 0 turns the cache off. Safe to use from any thread.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: LRUCache[str, EncodedText] = LRUCache(
            max_bytes, getsizeof=lambda entry: entry.size_bytes
        )
        self._lock = threading.Lock()

    def find(self, texts: Iterable[str]) -> dict[str, EncodedText]:
        """The cached entries of those texts that have one."""
        if not self._max_bytes:
            return {}
        with self._lock:
            return {text: self._entries[text] for text in texts if text in self._entries}

    def add(self, encoded: Mapping[str, EncodedText]) -> None:
        """Store entries; the least recently used ones make room for them."""
        with self._lock:
            for text, entry in encoded.items():
                if entry.size_bytes <= self._max_bytes:
                    own = entry.vector.copy()  # a row would keep its whole batch in memory
                    self._entries[text] = replace(entry, vector=own)
