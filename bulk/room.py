"""Bounds what waits between the threads of a run, in pieces and in bytes."""

import threading


class Room:
    """Room for so many pieces that together take so many bytes.

    A piece that is larger than all of it gets in alone, so that no piece waits for ever.
    """

    def __init__(self, pieces: int, count_bytes: int) -> None:
        self._pieces = pieces
        self._bytes = self._most_bytes = count_bytes
        self._changed = threading.Condition()

    def enter(self, count_bytes: int) -> None:
        """Wait until the piece fits, and take its room."""
        taken = min(count_bytes, self._most_bytes)
        with self._changed:
            self._changed.wait_for(lambda: self._pieces > 0 and self._bytes >= taken)
            self._pieces -= 1
            self._bytes -= taken

    def leave(self, count_bytes: int) -> None:
        """Give back the room of a piece."""
        with self._changed:
            self._pieces += 1
            self._bytes += min(count_bytes, self._most_bytes)
            self._changed.notify_all()
