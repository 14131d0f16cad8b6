"""The embedder with fake towers: what an encoder gets, and how failures are reported."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from common.allowance import Allowance
from common.cache import EncodedText, TextCache
from common.embedder import Embedder
from common.embeddings import Embeddings
from common.errors import Cancelled, DeadlineExceeded, ModelUnavailable
from common.items import ImageBytes, ImageUrl, Item, Text
from tests.fake_engine import FakeEngine, fake_embedder
from tests.image_server import ImageServer, picture

SOON_S = 10.0
PICTURE = picture()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def embedder(engine: FakeEngine) -> Iterator[Embedder]:
    with fake_embedder(engine) as opened:
        yield opened


def embed_texts(embedder: Embedder, *texts: str, timeout_s: float = SOON_S) -> Embeddings:
    return embedder.embed([Text(text) for text in texts], Allowance.lasting(timeout_s))


def test_texts_come_back_in_order_and_equal_ones_are_encoded_once(
    engine: FakeEngine, embedder: Embedder
) -> None:
    texts = ["aaa", "b", "aaa", "cc", "b"]
    result = embed_texts(embedder, *texts)
    assert result.vectors.argmax(axis=1).tolist() == [3, 1, 3, 2, 1]
    assert sum(len(batch) for batch in engine.text.batches) == 3
    assert result.tokens == sum(map(len, texts))


def test_truncated_texts_are_named_each_time_they_stand_there(embedder: Embedder) -> None:
    items: list[Item] = [Text("long" * 9), ImageBytes(PICTURE), Text("short"), Text("long" * 9)]
    assert embedder.embed(items).truncated == [0, 3]


def test_a_text_that_cannot_be_encoded_fails_no_other(embedder: Embedder) -> None:
    result = embed_texts(embedder, "fine", "poison", "fine")
    assert result.indices == [0, 2]
    assert [(error.index, error.code) for error in result.errors] == [(1, "internal")]


def test_texts_that_are_not_encoded_in_time_are_a_deadline(
    engine: FakeEngine, embedder: Embedder
) -> None:
    embed_texts(embedder, "loaded")
    engine.text.gate.clear()
    with pytest.raises(DeadlineExceeded):
        embed_texts(embedder, "slow", timeout_s=0.05)
    engine.text.gate.set()
    assert len(embed_texts(embedder, "next").vectors) == 1


def test_tokenizing_stops_when_the_time_is_over(engine: FakeEngine, embedder: Embedder) -> None:
    embed_texts(embedder, "loaded")
    with pytest.raises(DeadlineExceeded):
        embed_texts(embedder, "too late", timeout_s=0)
    assert engine.text.batches == [[6]]


def test_a_cancelled_call_ends_at_once_and_leaves_nothing_in_the_queue(
    engine: FakeEngine, embedder: Embedder
) -> None:
    embed_texts(embedder, "loaded")
    engine.text.gate.clear()
    allowance = Allowance()
    queue = embedder.model.text.batcher
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(embedder.embed, [Text("gone")], allowance)
        while not queue.queue_items:
            threading.Event().wait(0.001)
        allowance.cancellation.cancel()
        with pytest.raises(Cancelled):
            call.result(SOON_S)
    assert queue.queue_items == 0
    engine.text.gate.set()


def test_a_cached_text_is_not_encoded_again(engine: FakeEngine) -> None:
    with fake_embedder(engine, cache_bytes=10_000) as embedder:
        first = embed_texts(embedder, "a", "long" * 9)
        again = embed_texts(embedder, "long" * 9, "bb", "a")
    assert [len(batch) for batch in engine.text.batches] == [2, 1]
    np.testing.assert_array_equal(again.vectors[[2, 0]], first.vectors)
    assert (again.truncated, again.tokens) == ([0], 16 + 2 + 1)


def test_a_cache_stays_within_its_bytes() -> None:
    def entry(characters: int = 1) -> EncodedText:  # 804 bytes
        return EncodedText(
            np.zeros(100, np.float32), truncated=False, tokens=1, characters=characters
        )

    cache = TextCache(max_bytes=2000)
    for text in "abc":
        cache.add({text: entry()}, is_padded=False)
    assert set(cache.find("abc")) == {"b", "c"}
    cache.add({"large": entry(characters=1000)}, is_padded=False)
    assert set(cache.find(["large", "b", "c"])) == {"b", "c"}
    nothing = TextCache(max_bytes=0)
    nothing.add({"a": entry()}, is_padded=True)
    assert nothing.find("a") == {}
    assert (cache.hits, cache.misses, nothing.misses) == (4, 4, 0)


@pytest.mark.parametrize("pads", [True, False])
def test_by_default_only_the_texts_of_an_encoder_that_pads_are_kept(
    engine: FakeEngine, pads: bool
) -> None:
    engine.text.info = replace(engine.text.info, pads_texts=pads)
    with fake_embedder(engine, cache_bytes=None) as embedder:
        embed_texts(embedder, "a", "bb")
        embed_texts(embedder, "bb", "a", "ccc")
        assert (embedder.cache.hits, embedder.cache.misses) == ((2, 3) if pads else (0, 0))
    assert [len(batch) for batch in engine.text.batches] == [2, 1 if pads else 3]


def test_a_bad_image_costs_its_own_entry_at_each_of_its_places(
    engine: FakeEngine, embedder: Embedder
) -> None:
    good, bad = ImageBytes(PICTURE), ImageBytes(b"no image")
    result = embedder.embed([bad, good, bad, good])
    assert result.indices == [1, 3]
    found = [(error.index, error.code) for error in result.errors]
    assert found == [(0, "not_an_image"), (2, "not_an_image")]
    assert engine.image.encoded == 1


def test_an_image_that_two_calls_want_at_once_is_fetched_once(
    embedder: Embedder, image_server: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the first's result: only then does the server send the image."""
    image = ImageUrl(image_server.url + "/gated")
    waits = threading.Event()
    result = Future.result

    def noted(future: "Future[object]", timeout: float | None = None) -> object:
        if threading.current_thread().name.startswith("image"):
            waits.set()
        return result(future, timeout)

    monkeypatch.setattr(Future, "result", noted)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(embedder.embed, [image])
        assert image_server.seen("/gated")
        waits.clear()  # the first has waited for its host's address
        second = pool.submit(embedder.embed, [image])
        assert waits.wait(SOON_S)
        image_server.gate.set()
        np.testing.assert_array_equal(first.result().vectors, second.result().vectors)
    assert image_server.requests["/gated"] == 1
    embedder.embed([image])
    assert image_server.requests["/gated"] == 2


def test_images_that_do_not_come_in_time_get_a_timeout(embedder: Embedder) -> None:
    embedder.embed([ImageBytes(PICTURE)])
    late = embedder.embed([ImageBytes(picture(colour="navy"))], Allowance.lasting(0))
    assert [error.code for error in late.errors] == ["timeout"]


def test_a_tower_that_cannot_be_loaded_is_no_images_error(
    engine: FakeEngine, embedder: Embedder
) -> None:
    engine.image_failure = ModelUnavailable("no such file")
    with pytest.raises(ModelUnavailable, match="no such file"):
        embedder.embed([Text("a"), ImageBytes(PICTURE)])
    assert embedder.model.image.batcher.queue_items == 0


def test_a_result_parts_into_its_texts_and_its_images(embedder: Embedder) -> None:
    texts, images = embedder.embed(
        [Text("long" * 9), Text("b"), ImageBytes(b"broken"), ImageBytes(PICTURE)]
    ).split(2)
    assert (texts.indices, texts.errors, texts.truncated) == ([0, 1], [], [0])
    assert (images.indices, [error.index for error in images.errors]) == ([1], [0])
    assert images.vectors.tolist() == [[1, 0, 0, 0]]
