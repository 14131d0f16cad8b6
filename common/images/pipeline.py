"""Read, decode and preprocess the images of a call side by side, in a pool apart from the encoders."""

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

POOL_CALLS = 4  # the pool serves this many calls at their full concurrency; further ones share it

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sink:
    """Where a call's images go: each result as it comes, once the encoder's preprocessing is known.

    `preprocessing` may wait for the encoder, and raises ServiceError.
    """

    preprocessing: Callable[[], Preprocessing]
    put: Callable[[int, Pixels], None]
    fail: Callable[[int, Exception], None]


@dataclass(frozen=True)
class _Work:
    """What is left to do of one call."""

    waiting: "queue.SimpleQueue[tuple[int, Image]]"
    sink: Sink
    allowance: Allowance
    observer: Observer


def _is_at_hand(image: Image) -> bool:
    """Whether the call itself holds the image's bytes."""
    return isinstance(image, ImageBytes) or image.url[:5].lower() == "data:"


class ImagePipeline:
    """Images → pixels. `concurrency` bounds what one call does at a time: none takes the whole pool.

    `memory` and `turns` bound what all calls of the process do together.
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
        """Start on `images`; results arrive at `sink` from the pool's threads. Returns at once."""
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
        """End the threads once their images are done; nothing new is started."""
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
            except Exception as error:  # whatever one image does, the others go on
                log.exception("an image raised an error that is not an ImageError")
                work.sink.fail(index, error)

    def _prepare_once(self, image: Image, work: _Work) -> Pixels:
        """As _prepare, but waits for a URL that another call is preparing, and reads it only once."""
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
            except (ImageTimeout, TimeoutError):  # the other call had less time, or neither has any
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
