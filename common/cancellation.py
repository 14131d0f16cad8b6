"""Whether the work in hand is still wanted. Knows no HTTP: a server, a script or a test cancels."""

import threading
from collections.abc import Callable


class Cancellation:
    """A flag that is set once, and what is done when it is set.

    `cancel` and `on_cancel` may be called from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Set the flag and run each callback once, in this thread. A second call does nothing."""
        with self._lock:
            callbacks, self._callbacks = self._callbacks, []
            self._cancelled = True
        for callback in callbacks:
            callback()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Run `callback` when the work is cancelled, at once if it is already. It must not raise."""
        with self._lock:
            if not self._cancelled:
                self._callbacks.append(callback)
                return
        callback()
