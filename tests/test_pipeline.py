"""ImagePipeline: images whose bytes are at hand do not wait for hosts."""

import base64
import queue
import threading

import pytest

from common.allowance import Allowance
from common.images.data_source import DataSource
from common.images.limits import DecodeLimits
from common.images.memory_budget import LargeTurns, MemoryBudget
from common.images.pipeline import POOL_CALLS, ImagePipeline, Sink
from common.images.source import ImageReader
from common.items import Image, ImageBytes, ImageUrl
from common.models.spec import Preprocessing
from common.observer import UNOBSERVED
from tests.image_server import picture

CONCURRENCY = 2
PREPROCESSING = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Stuck:
    """A source that answers nothing until `gate` is set."""

    schemes: tuple[str, ...] = ("http",)

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.started = threading.Semaphore(0)

    def read(self, reference: str, allowance: Allowance) -> bytes:
        self.started.release()
        self.gate.wait(30)
        return picture()


@pytest.mark.parametrize(
    "image",
    [ImageBytes(picture()), ImageUrl(f"DATA:;base64,{base64.b64encode(picture()).decode()}")],
    ids=["bytes", "data"],
)
def test_an_image_at_hand_does_not_wait_for_hosts_that_fill_the_pool(image: Image) -> None:
    stuck, done = Stuck(), queue.SimpleQueue[object]()
    reader = ImageReader((stuck, DataSource(2**20)), 2**20)
    memory, turns = MemoryBudget(2**27), LargeTurns()
    pipeline = ImagePipeline(reader, DecodeLimits(), memory, turns, CONCURRENCY)
    sink = Sink(lambda: PREPROCESSING, lambda _, pixels: done.put(pixels), lambda _, e: done.put(e))

    def run(*images: Image) -> None:
        pipeline.run(images, sink, Allowance.lasting(30), UNOBSERVED)

    try:
        for call in range(POOL_CALLS):
            run(*(ImageUrl(f"http://a/{call}/{number}") for number in range(CONCURRENCY)))
        for _ in range(POOL_CALLS * CONCURRENCY):
            assert stuck.started.acquire(timeout=30)
        run(ImageUrl("http://a/waits"), image)
        assert getattr(done.get(timeout=10), "shape", None) == (32, 32, 3)
        assert done.empty()
    finally:
        stuck.gate.set()
        pipeline.close()
