"""Reads, decodes and preprocesses the images of a call in a thread pool."""

import contextvars
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from common.allowance import Allowance
from common.errors import ImageError, ImageTimeout, ServiceError
from common.images.decode import prepare
from common.images.limits import DecodeLimits
from common.images.memory_budget import LargeTurns, MemoryBudget
from common.images.source import ImageReader
from common.items import Image, ImageBytes
from common.models.spec import Pixels, Preprocessing
from common.observer import Observer

POOL_CALLS = 4  # the pool has threads for this many calls at full concurrency

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sink:
    """Receives the results of a call's images, each as soon as it is ready.

    `preprocessing` may wait for the encoder to load, and raises ServiceError.
    """

    preprocessing: Callable[[], Preprocessing]
    put: Callable[[int, Pixels], None]
    fail: Callable[[int, Exception], None]


@dataclass(frozen=True)
class _Work:
    """The remaining work of one call."""

    waiting: "queue.SimpleQueue[tuple[int, Image]]"
    sink: Sink
    allowance: Allowance
    observer: Observer


def _is_at_hand(image: Image) -> bool:
    """Whether the call itself holds the image's bytes."""
    return isinstance(image, ImageBytes) or image.url[:5].lower() == "data:"


class ImagePipeline:
    """Turns images into pixels, in a pool of threads that all calls share.

    `concurrency` bounds the images of one call in work at a time, so that no call takes the whole
    pool. `memory` and `turns` bound the memory of all calls together.
    """

    def __init__(
        self,
        reader: ImageReader,
        limits: DecodeLimits,
        memory: MemoryBudget,
        turns: LargeTurns,
        concurrency: int,
    ) -> None:
        self._reader = reader
        self._limits = limits
        self._memory = memory
        self._turns = turns
        self._concurrency = concurrency
        self._lock = threading.Lock()
        self._pools: dict[bool, ThreadPoolExecutor] = {}  # of images that are at hand, of others
        self._flights: dict[Image, Future[Pixels]] = {}  # of URLs being prepared

    def run(
        self, images: Sequence[Image], sink: Sink, allowance: Allowance, observer: Observer
    ) -> None:
        """Start to prepare `images` and return at once; the pools' threads fill `sink`."""
        for at_hand in (True, False):
            work = _Work(queue.SimpleQueue(), sink, allowance, observer)
            for index, image in enumerate(images):
                if _is_at_hand(image) is at_hand:
                    work.waiting.put((index, image))
            for _ in range(min(self._concurrency, work.waiting.qsize())):
                # The caller's context goes along: what is logged names the caller's request.
                context = contextvars.copy_context()
                self._executor(at_hand).submit(context.run, self._drain, work)

    def close(self) -> None:
        """End the threads after their current images; images that wait are dropped."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.shutdown(wait=False, cancel_futures=True)

    def _executor(self, at_hand: bool) -> ThreadPoolExecutor:
        """The threads for images whose bytes came with the call: slow hosts never occupy them."""
        with self._lock:  # made on first use: threads do not survive the server's fork
            if at_hand not in self._pools:
                size = self._concurrency * POOL_CALLS
                name = "image" if at_hand else "image-fetch"
                self._pools[at_hand] = ThreadPoolExecutor(size, thread_name_prefix=name)
            return self._pools[at_hand]

    def _drain(self, work: _Work) -> None:
        while not work.allowance.cancellation.cancelled:
            try:
                index, image = work.waiting.get_nowait()
            except queue.Empty:
                return
            try:
                work.sink.put(index, self._prepare_once(image, work))
            except (ImageError, ServiceError) as error:
                work.sink.fail(index, error)
            except Exception as error:  # one image must not stop the others
                log.exception("an image raised an unexpected error")
                work.sink.fail(index, error)

    def _prepare_once(self, image: Image, work: _Work) -> Pixels:
        """Like _prepare, but if another call is preparing the same URL, wait for its result."""
        if _is_at_hand(image):
            return self._prepare(image, work)
        with self._lock:
            flight = self._flights.get(image)
            if flight is None:
                own: Future[Pixels] = Future()
                self._flights[image] = own
        if flight is not None:
            try:
                return flight.result(work.allowance.remaining_s())
            except (ImageTimeout, TimeoutError):  # the other call had less time
                return self._prepare(image, work)
        try:
            pixels = self._prepare(image, work)
        except Exception as error:
            own.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._flights[image]
        own.set_result(pixels)
        return pixels

    def _prepare(self, image: Image, work: _Work) -> Pixels:
        started = time.monotonic()
        if work.allowance.is_over:
            raise ImageTimeout("the request's time ran out before this image was read")
        with self._turns.turn() as turn:
            allowance = work.allowance.taking(turn)
            data = self._reader.read(image, allowance)
            work.observer.stage("fetch", time.monotonic() - started)
            preprocessing = work.sink.preprocessing()
            decoding = time.monotonic()
            pixels = prepare(data, preprocessing, self._limits, allowance, self._memory)
            work.observer.stage("decode", time.monotonic() - decoding)
            return pixels
