"""The embedder over fake towers: what is sent to an encoder, and what becomes of failures."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from ipaddress import ip_network

import numpy as np
import pytest

from common.batcher import BatchLimits
from common.cache import EncodedText, TextCache
from common.context import RequestContext, current_request
from common.embedding import Embedder
from common.errors import DeadlineExceeded, EncodingError, ImagesFailed, ModelUnavailable
from common.images.decode import DecodeLimits
from common.images.fetcher import Fetcher
from common.images.pipeline import ImagePipeline
from common.images.sources import ImageLoader
from common.images.storage import ObjectReader
from common.images.url_policy import UrlPolicy
from common.models.registry import Model, Tower
from common.models.spec import ModelSpec, OpenClipTower
from common.schemas import ImageRequest
from tests.fake_encoders import FakeImage, FakeText
from tests.image_server import ImageServer, picture
from tests.image_urls import data_url

LIMITS = BatchLimits(max_batch_size=8, max_queue_items=100)
SOON_S = 10.0
NO_TOWER = OpenClipTower("none")


class World:
    """An embedder and the fakes behind it."""

    def __init__(self, cache_bytes: int = 0, networks: tuple[str, ...] = ()) -> None:
        self.text, self.image = FakeText(), FakeImage()
        self.image_failure: Exception | None = None
        spec = ModelSpec("fake", "Fake", "", NO_TOWER, NO_TOWER, 4)
        model = Model(spec, Tower("text", lambda: self.text, LIMITS, len), Tower("image", self._load_image, LIMITS))
        policy = UrlPolicy((), tuple(map(ip_network, networks)))
        fetcher = Fetcher(timeout_s=5, retries=0, max_bytes=10**6, user_agent="test", policy=policy)
        loader = ImageLoader(fetcher, ObjectReader(timeout_s=5, max_bytes=10**6), max_bytes=10**6)
        self.pipeline = ImagePipeline(loader, DecodeLimits(max_pixels=10**6), concurrency=2)
        self.embedder = Embedder(model, lambda: self.pipeline, TextCache(cache_bytes), load_timeout_s=5)

    def _load_image(self) -> FakeImage:
        if self.image_failure:
            raise self.image_failure
        return self.image


@pytest.fixture
def world() -> Iterator[World]:
    token = current_request.set(RequestContext.from_headers({}, timeout_s=10))
    yield World()
    current_request.reset(token)


def with_timeout(seconds: float) -> RequestContext:
    context = RequestContext.from_headers({}, timeout_s=seconds)
    current_request.set(context)
    return context


def test_texts_come_back_in_order_and_equal_ones_are_encoded_once(world: World) -> None:
    texts = ["aaa", "b", "aaa", "cc", "b"]
    result = world.embedder.embed_texts(texts)
    assert result.vectors.argmax(axis=1).tolist() == [3, 1, 3, 2, 1]
    assert sum(len(batch) for batch in world.text.batches) == 3
    assert result.tokens == sum(map(len, texts))


def test_truncated_texts_are_named_each_time_they_stand_there(world: World) -> None:
    assert world.embedder.embed_texts(["long" * 9, "short", "long" * 9]).truncated == [0, 2]


def test_a_text_that_cannot_be_encoded_fails_its_request_and_no_other(world: World) -> None:
    with pytest.raises(EncodingError):
        world.embedder.embed_texts(["fine", "poison"])
    assert len(world.embedder.embed_texts(["fine"]).vectors) == 1


def test_texts_that_are_not_encoded_in_time_are_a_deadline(world: World) -> None:
    world.text.gate.clear()
    with_timeout(0.05)
    with pytest.raises(DeadlineExceeded):
        world.embedder.embed_texts(["slow"])
    world.text.gate.set()
    with_timeout(10)
    assert len(world.embedder.embed_texts(["next"]).vectors) == 1


def test_tokenizing_stops_when_the_time_is_over(world: World) -> None:
    world.embedder.embed_texts(["loaded"])
    with_timeout(0)
    with pytest.raises(DeadlineExceeded):
        world.embedder.embed_texts(["too late"])
    assert world.text.batches == [[6]]


def test_a_cached_text_is_not_encoded_again(world: World) -> None:
    embedder = World(cache_bytes=10_000)
    first = embedder.embedder.embed_texts(["a", "long" * 9])
    again = embedder.embedder.embed_texts(["long" * 9, "bb", "a"])
    assert [len(batch) for batch in embedder.text.batches] == [2, 1]
    np.testing.assert_array_equal(again.vectors[[2, 0]], first.vectors)
    assert (again.truncated, again.tokens) == ([0], 16 + 2 + 1)


def test_a_cache_stays_within_its_bytes() -> None:
    cache = TextCache(max_bytes=2000)
    entries = {text: EncodedText(np.zeros(100, np.float32), truncated=False, tokens=1, characters=1) for text in "abc"}
    for text, entry in entries.items():  # 804 bytes each
        cache.add({text: entry})
    assert set(cache.find("abc")) == {"b", "c"}
    cache.add({"large": EncodedText(np.zeros(100, np.float32), truncated=False, tokens=1, characters=1000)})
    assert set(cache.find(["large", "b", "c"])) == {"b", "c"}
    nothing = TextCache(max_bytes=0)
    nothing.add(entries)
    assert nothing.find("abc") == {}


def test_a_bad_image_costs_its_own_entry_at_each_of_its_places(world: World) -> None:
    good, bad = data_url(picture()), data_url(b"no image")
    images = world.embedder.embed_images([bad, good, bad, good])
    assert images.indices == [1, 3]
    assert [(error.index, error.code) for error in images.errors] == [(0, "not_an_image"), (2, "not_an_image")]
    assert world.image.encoded == 1


def test_rows_follow_on_error(world: World) -> None:
    urls = [data_url(b"no image"), data_url(picture())]
    images = world.embedder.embed_images(urls)
    rows, indices = images.rows(ImageRequest(urls=urls, on_error="null"))
    assert (rows[0], indices) == (None, [0, 1])
    with pytest.raises(ImagesFailed, match="1 of 2 images"):
        images.rows(ImageRequest(urls=urls, on_error="fail"))


def test_an_image_that_two_requests_want_at_once_is_fetched_once(
    image_server: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the first's result: only then does the server send the image."""
    world, url = World(networks=("127.0.0.0/8",)), image_server.url + "/gated"
    waits, result = threading.Event(), Future.result

    def noted(future: "Future[object]", timeout: float | None = None) -> object:
        if threading.current_thread().name.startswith("image"):
            waits.set()
        return result(future, timeout)

    monkeypatch.setattr(Future, "result", noted)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(world.embedder.embed_images, [url])
        assert image_server.seen("/gated")
        waits.clear()  # the first has waited for its host's address
        second = pool.submit(world.embedder.embed_images, [url])
        assert waits.wait(SOON_S)
        image_server.gate.set()
        np.testing.assert_array_equal(first.result().vectors, second.result().vectors)
    assert image_server.requests["/gated"] == 1
    world.embedder.embed_images([url])
    assert image_server.requests["/gated"] == 2


def test_images_that_do_not_come_in_time_get_a_timeout(world: World) -> None:
    world.embedder.embed_images([data_url(picture())])
    with_timeout(0)
    images = world.embedder.embed_images([data_url(picture(colour="navy"))])
    assert [error.code for error in images.errors] == ["timeout"]


def test_a_tower_that_cannot_be_loaded_is_no_image_error(world: World) -> None:
    world.image_failure = ModelUnavailable("no such file")
    with pytest.raises(ModelUnavailable, match="no such file"):
        world.embedder.embed_mixed(["a"], [data_url(picture())])
    assert world.embedder.model.image.batcher.queue_items == 0


def test_stages_and_batches_are_recorded(world: World) -> None:
    context = with_timeout(10)
    world.embedder.embed_mixed(["a", "bb"], [data_url(picture())])
    assert set(context.stages) == {"fetch", "decode", "queue", "encode"}
    assert sum(context.batch_sizes) == 3
    assert context.facts == {"texts": 2, "images": 1, "images_failed": 0}
