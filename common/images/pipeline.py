"""Fetch, decode and preprocess the images of a request side by side, in a pool apart from the compute threads."""

import contextvars
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from common.config import get_settings
from common.context import RequestContext, get_request_context
from common.errors import ImageError, ImageTimeout, ServiceError
from common.images.decode import DecodeLimits, prepare
from common.images.fetcher import Fetcher
from common.images.memory_budget import LargeTurn, LargeTurns, MemoryBudget, decode_bytes
from common.images.sources import ImageLoader
from common.images.storage import ObjectReader
from common.images.url_policy import UrlPolicy
from common.memory import instance_bytes
from common.models.spec import Pixels, Preprocessing

POOL_REQUESTS = 4  # the pool serves this many requests at their full concurrency; further ones share it

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sink:
    """Where a request's images go: the encoder's preprocessing once it is known, then each result as it comes."""

    preprocessing: Callable[[], Preprocessing]  # may wait for the encoder; raises ServiceError
    put: Callable[[int, Pixels], None]
    fail: Callable[[int, Exception], None]


class ImagePipeline:
    """URL → pixels. `concurrency` bounds what one request does at a time, so that no request takes the whole pool."""

    def __init__(
        self,
        loader: ImageLoader,
        limits: DecodeLimits,
        concurrency: int,
        memory: MemoryBudget,
        large: LargeTurns,
    ) -> None:
        self._loader, self._limits, self._concurrency = loader, limits, concurrency
        self._memory = memory
        self._large = large
        self._pool: ThreadPoolExecutor | None = None
        self.joined = 0  # images that were not fetched, as another request was fetching them
        self._flights: dict[str, Future[Pixels]] = {}  # URLs being prepared
        self._lock = threading.Lock()

    def run(self, urls: Sequence[str], sink: Sink, deadline: float) -> None:
        """Start on `urls`; results arrive at `sink` from the pool's threads. Returns at once."""
        context = get_request_context()
        waiting: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        for entry in enumerate(urls):
            waiting.put(entry)
        for _ in range(min(self._concurrency, len(urls))):
            self._executor().submit(contextvars.copy_context().run, self._drain, waiting, sink, deadline, context)

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:  # made on first use: threads do not survive the server's fork
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._concurrency * POOL_REQUESTS, thread_name_prefix="image")
            return self._pool

    def _drain(
        self, waiting: "queue.SimpleQueue[tuple[int, str]]", sink: Sink, deadline: float, context: RequestContext
    ) -> None:
        while True:
            try:
                index, url = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                sink.put(index, self._prepare_once(url, sink, deadline, context))
            except (ImageError, ServiceError) as error:
                sink.fail(index, error)
            except Exception as error:  # whatever one image does, the others go on
                log.exception("an image raised what no image should")
                sink.fail(index, error)

    def _prepare_once(self, url: str, sink: Sink, deadline: float, context: RequestContext) -> Pixels:
        """As _prepare, but a URL that another request is waiting for just now is waited for, not fetched again."""
        if url.startswith("data:"):
            return self._prepare(url, sink, deadline, context)
        with self._lock:
            flight = self._flights.get(url)
            if flight is None:
                own: Future[Pixels] = Future()
                self._flights[url] = own
            else:
                self.joined += 1
        if flight is not None:
            try:
                return flight.result(max(0.0, deadline - time.monotonic()))
            except (ImageTimeout, TimeoutError):  # the other request had less time than this one, or neither has any
                return self._prepare(url, sink, deadline, context)
        try:
            pixels = self._prepare(url, sink, deadline, context)
        except Exception as error:
            own.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._flights[url]
        own.set_result(pixels)
        return pixels

    def _prepare(self, url: str, sink: Sink, deadline: float, context: RequestContext) -> Pixels:
        started = time.monotonic()
        if started >= deadline:
            raise ImageTimeout("the request's time ran out before this image was fetched")
        with LargeTurn(self._large) as turn:
            data = self._loader.load(url, deadline, turn)
            fetched = time.monotonic()
            context.record("fetch", fetched - started)
            preprocessing = sink.preprocessing()
            decoding = time.monotonic()
            pixels = prepare(data, preprocessing, self._limits, deadline, self._memory, context.held_bytes)
            context.record("decode", time.monotonic() - decoding)
            return pixels


@cache
def get_pipeline() -> ImagePipeline:
    """The pipeline of this process, from the settings. Starts no thread."""
    settings = get_settings()
    fetcher = Fetcher(
        timeout_s=settings.fetch_timeout_s,
        retries=settings.fetch_retries,
        max_bytes=settings.fetch_max_bytes,
        user_agent=settings.fetch_user_agent,
        policy=UrlPolicy(settings.fetch_allow_hosts, settings.fetch_allow_networks),
    )
    objects = ObjectReader(timeout_s=settings.fetch_timeout_s, max_bytes=settings.fetch_max_bytes)
    loader = ImageLoader(fetcher, objects, max_bytes=settings.fetch_max_bytes)
    return ImagePipeline(
        loader,
        DecodeLimits(max_pixels=settings.max_image_pixels),
        settings.fetch_concurrency,
        MemoryBudget(decode_bytes(instance_bytes())),
        LargeTurns(),
    )
