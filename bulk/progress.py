"""Shows how far a run is: as a bar on a terminal, else as regular log records."""

import logging
import sys
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any, Protocol, Self

from bulk.outputs.part import Counts

LINE_EVERY_S = 30.0

log = logging.getLogger(__name__)


class Progress(Protocol):
    """Counts embedded rows, from any thread. Use it with `with`."""

    def note(self, counts: Counts) -> None:
        """Count these rows as embedded."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Bar:
    """tqdm's bar: rows, rows a second, time left, failures."""

    def __init__(self, rows: int) -> None:
        from tqdm import tqdm

        self._lock = threading.Lock()
        self._bar: Any = tqdm(total=rows, unit="row", smoothing=0.05)
        self._failed = 0

    def note(self, counts: Counts) -> None:
        """See Progress."""
        with self._lock:
            self._failed += counts.failures
            self._bar.set_postfix(failed=self._failed, refresh=False)
            self._bar.update(counts.rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


class Lines:
    """A log record every LINE_EVERY_S, and one at the end."""

    def __init__(self, rows: int) -> None:
        self._lock = threading.Lock()
        self._rows = rows
        self._done = 0
        self._failed: Counter[str] = Counter()
        self._started = time.monotonic()
        self._told_at = self._started

    def note(self, counts: Counts) -> None:
        """See Progress."""
        with self._lock:
            self._done += counts.rows
            self._failed.update(counts.failed)
            if time.monotonic() - self._told_at >= LINE_EVERY_S:
                self._tell()

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        rate = self._done / max(1e-9, self._told_at - self._started)
        extra = {
            "rows": self._done,
            "of": self._rows,
            "rows_per_s": round(rate, 1),
            "left_s": round((self._rows - self._done) / rate) if rate else None,
            "failed": dict(self._failed),
        }
        log.info("embedding", extra=extra)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._tell()


def progress_of(rows: int) -> Progress:
    """A bar if stderr is a terminal, else log records."""
    return Bar(rows) if sys.stderr.isatty() else Lines(rows)
