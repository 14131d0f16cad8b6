"""A cache of text vectors, bounded in memory.

Search backends send the same queries again and again. Some encoders pad every text to their
longest, as SigLIP's does, so a short text costs as much as a long one. Their vectors are kept
unless the operator turns the cache off; for other encoders the operator turns it on.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cachetools import LRUCache

from common.batcher import Vector

PADDED_BYTES = 32 << 20  # about 9,000 texts with vectors of 768 numbers
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

    `max_bytes` 0 turns the cache off. None gives PADDED_BYTES to the texts of an encoder that pads
    them, and nothing to others. `hits` and `misses` count the texts that were looked up while the
    cache was in use. Safe to use from any thread.
    """

    def __init__(self, max_bytes: int | None) -> None:
        self._only_padded = max_bytes is None
        self._max_bytes = PADDED_BYTES if max_bytes is None else max_bytes
        self.hits = 0
        self.misses = 0
        self._entries: LRUCache[str, EncodedText] = LRUCache(
            self._max_bytes, getsizeof=lambda entry: entry.size_bytes
        )
        self._lock = threading.Lock()

    def find(self, texts: Iterable[str]) -> dict[str, EncodedText]:
        """The cached entries of those texts that have one."""
        if not self._max_bytes:
            return {}
        with self._lock:
            found = {text: self._entries[text] for text in texts if text in self._entries}
            self.hits += len(found)
        return found

    def add(self, encoded: Mapping[str, EncodedText], is_padded: bool) -> None:
        """Store entries, which the cache did not have; the least recently used ones make room.

        `is_padded` says whether the encoder pads its texts to their longest.
        """
        if not self._max_bytes or (self._only_padded and not is_padded):
            return
        with self._lock:
            self.misses += len(encoded)
            for text, entry in encoded.items():
                if entry.size_bytes <= self._max_bytes:
                    own = entry.vector.copy()  # a row would keep its whole batch in memory
                    self._entries[text] = replace(entry, vector=own)
