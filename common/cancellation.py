"""Lets a server, a script or a test cancel the work of a call."""

import threading
from collections.abc import Callable


class Cancellation:
    """A flag that is set at most once, and callbacks that run when it is set.

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
        """Run `callback` on cancellation, or now if it has happened. It must not raise."""
        with self._lock:
            if not self._cancelled:
                self._callbacks.append(callback)
                return
        callback()
