"""One tower of a model: its encoder and its queue.

A separate thread loads the encoder on first use, exactly once. After a failed load and a pause, the
next call tries again.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, Generic, Literal, TypeVar

from common.allowance import Allowance
from common.batcher import BatchLimits, Job, MicroBatcher
from common.errors import ModelLoading, ModelUnavailable
from common.memory import resident_bytes, return_freed_memory
from common.models.spec import Encoder, TowerName, Vectors
from common.models.warm_up import WarmUp
from common.observer import UNOBSERVED, TowerObserver

EncoderT = TypeVar("EncoderT", bound=Encoder[Any])
ItemT = TypeVar("ItemT")
State = Literal["absent", "loading", "ready", "failed"]

RETRY_PAUSE_S = 5.0  # between two loads, so that many requests do not cause many downloads
LOADING_RETRY_S = 2.0  # Retry-After for callers while a tower loads

log = logging.getLogger(__name__)


class Tower(Generic[EncoderT, ItemT]):
    """An encoder that loads on first use, and the queue in front of it.

    Its threads start with the first use too. `trial` makes an item that the encoder is tried with
    if nobody waits for it; a call that waits is its own trial.
    """

    def __init__(
        self,
        name: TowerName,
        load: Callable[[], EncoderT],
        limits: BatchLimits,
        length_of: Callable[[ItemT], int] = lambda _: 1,
        retry_pause_s: float = RETRY_PAUSE_S,
        observer: TowerObserver = UNOBSERVED,
        warm_up: WarmUp | None = None,
        trial: Callable[[EncoderT], ItemT] | None = None,
    ) -> None:
        self.name: TowerName = name
        self._load = load
        self._retry_pause_s = retry_pause_s
        self._observer = observer
        self._warm_up = warm_up or WarmUp()
        self._trial = trial
        self._has_encoded = False
        self._changed = threading.Condition()
        self._state: State = "absent"
        self._encoder: EncoderT | None = None
        self._failure = ""
        self._failed_at = 0.0
        self.batcher: MicroBatcher[ItemT] = MicroBatcher(name, self._encode, limits, length_of)

    @property
    def encoder(self) -> EncoderT | None:
        """The encoder, or None while it is not loaded."""
        return self._encoder

    @property
    def failure(self) -> str:
        """Why the last load failed; empty if it did not fail."""
        return self._failure if self._state == "failed" else ""

    def start_loading(self, for_a_call: bool = False) -> None:
        """Start the load, unless it runs, is done or failed a moment ago.

        The encoder is also tried once, unless the load is `for_a_call`.
        """
        with self._changed:
            since_failure_s = time.monotonic() - self._failed_at
            paused = self._state == "failed" and since_failure_s < self._retry_pause_s
            if paused or self._state in ("loading", "ready"):
                return
            self._state = "loading"
        trial = None if for_a_call else self._trial
        name = f"load-{self.name}"
        threading.Thread(target=self._run_load, args=(trial,), name=name, daemon=True).start()

    def wait(self, timeout_s: float) -> EncoderT:
        """Wait for the encoder and return it; start the load if necessary.

        Raises ModelLoading if the load takes longer than `timeout_s`, and ModelUnavailable if the
        load failed.
        """
        if encoder := self._encoder:  # the warm path takes no lock
            return encoder
        self.start_loading(for_a_call=True)
        with self._changed:
            self._changed.wait_for(lambda: self._state != "loading", timeout_s)
            if encoder := self.encoder:
                return encoder
            if self._state == "loading":
                message = f"the {self.name} tower is still loading"
                raise ModelLoading(message, retry_after_s=LOADING_RETRY_S)
            raise ModelUnavailable(self._failure, retry_after_s=self._retry_pause_s)

    def finish_loading(self, timeout_s: float) -> EncoderT | None:
        """The encoder after a load that runs now, if any; None if it did not load in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._state != "loading", timeout_s)
            return self._encoder

    def open_job(self, size: int, allowance: Allowance, cost: float | None = None) -> Job[ItemT]:
        """Reserve `size` places in the queue for a call, until it is cancelled.

        A call that came while a tower loaded is refused only if it would miss its deadline: the
        calls ahead of it do not mean that the encoder is overloaded.
        Raises as MicroBatcher.open does, which also explains `cost`.
        """
        was_early = self._warm_up.covers(allowance.arrived)
        job = self.batcher.open(
            size,
            cost,
            allowance.deadline,
            0.0 if was_early else allowance.waited_s,
            allowance.is_patient or was_early,
            allowance.turned_away,
        )
        allowance.cancellation.on_cancel(job.abandon)
        return job

    def close(self) -> None:
        """End the queue's thread and release the encoder."""
        self.batcher.close()
        with self._changed:
            self._state = "absent"
            self._encoder = None

    def _encode(self, items: Sequence[ItemT]) -> Vectors:
        started = time.monotonic()
        encoder = self.wait(0)  # the callers of these items have waited for the load
        with nullcontext() if self._has_encoded else self._warm_up.running():
            vectors = encoder.encode(items)
        self._has_encoded = True
        self._observer.batch_encoded(self.name, len(items), time.monotonic() - started)
        return vectors

    def _run_load(self, trial: Callable[[EncoderT], ItemT] | None) -> None:
        with self._warm_up.running():
            self._load_once(trial)

    def _load_once(self, trial: Callable[[EncoderT], ItemT] | None) -> None:
        started = time.monotonic()
        resident_before = resident_bytes()
        try:
            encoder = self._load()
            if trial:
                encoder.encode([trial(encoder)])
        except Exception as error:  # noqa: BLE001 - the log gets it with its stack trace
            self._note_failure(error)
            self._observer.load_ended(self.name, "failed", time.monotonic() - started)
            return
        if encoder.info.max_batch_size:
            self.batcher.cap(encoder.info.max_batch_size)
        with self._changed:
            self._state = "ready"
            self._encoder = encoder
            self._changed.notify_all()
        return_freed_memory()
        resident = resident_bytes()
        extra: dict[str, object] = {
            "tower": self.name,
            "engine": encoder.info.engine,
            "device": encoder.info.device,
            "seconds": round(time.monotonic() - started, 3),
            "memory_mb": resident >> 20,
            "grown_mb": (resident - resident_before) >> 20,
        }
        log.info("tower loaded", extra=extra)
        self._observer.load_ended(self.name, "loaded", time.monotonic() - started)

    def _note_failure(self, error: Exception) -> None:
        failure = str(error)
        if not isinstance(error, ModelUnavailable):  # another error's message may contain a path
            failure = f"the {self.name} tower could not be loaded: {type(error).__name__}"
        log.exception("tower not loaded", extra={"tower": self.name})
        with self._changed:
            self._state = "failed"
            self._failure = failure
            self._failed_at = time.monotonic()
            self._changed.notify_all()
