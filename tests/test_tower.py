"""Towers load once, lazily, and again after a failure."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.batcher import BatchLimits
from common.errors import Cancelled, ModelLoading, ModelUnavailable
from common.models.fingerprint import Fingerprints
from common.models.model import Model, open_model
from common.models.spec import (
    EngineOptions,
    ModelSpec,
    OpenClipTower,
    Pixels,
    Preprocessing,
    TokenIds,
)
from common.models.tower import Tower
from tests.fake_encoders import FakeImage, FakeText
from tests.fake_engine import FakeEngine

SOON_S = 10.0
LIMITS = BatchLimits(max_batch_size=4, max_queue_items=100)


class Loader:
    """Counts its calls. It raises `fail_with` if set, and loads only once `gate` opens."""

    def __init__(self) -> None:
        self.calls = 0
        self.fail_with: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> FakeText:
        self.calls += 1
        assert self.gate.wait(SOON_S)
        if self.fail_with:
            raise self.fail_with
        return FakeText()


def make(load: Callable[[], FakeText], retry_pause_s: float = 0.0) -> Tower[FakeText, TokenIds]:
    return Tower("text", load, LIMITS, length_of=len, retry_pause_s=retry_pause_s)


def test_a_tower_loads_nothing_and_starts_no_thread_before_it_is_used() -> None:
    before, loader = threading.active_count(), Loader()
    tower = make(loader)
    assert (loader.calls, tower.encoder, threading.active_count()) == (0, None, before)


def test_32_concurrent_first_callers_load_it_once() -> None:
    loader, encoders = Loader(), []
    loader.gate.clear()
    tower = make(loader)
    threads = [
        threading.Thread(target=lambda: encoders.append(tower.wait(SOON_S))) for _ in range(32)
    ]
    for thread in threads:
        thread.start()
    loader.gate.set()
    for thread in threads:
        thread.join()
    assert loader.calls == 1
    assert len({id(encoder) for encoder in encoders}) == 1
    assert len(encoders) == 32


def test_a_caller_who_waited_long_enough_hears_that_it_is_loading() -> None:
    loader = Loader()
    loader.gate.clear()
    tower = make(loader)
    with pytest.raises(ModelLoading, match="the text tower is still loading") as raised:
        tower.wait(0)
    assert raised.value.retry_after_s
    loader.gate.set()
    assert tower.wait(SOON_S)
    assert loader.calls == 1


def test_a_failed_load_says_why_and_is_tried_again() -> None:
    loader = Loader()
    loader.fail_with = ModelUnavailable("no weights of demo")
    tower = make(loader)
    with pytest.raises(ModelUnavailable, match="no weights of demo"):
        tower.wait(SOON_S)
    assert tower.failure == "no weights of demo"
    loader.fail_with = None
    assert tower.wait(SOON_S)
    assert tower.failure == ""


def test_a_load_without_memory_is_said_and_tried_again() -> None:
    load = Loader()
    load.fail_with = MemoryError()
    tower = make(load)
    with pytest.raises(ModelUnavailable, match="the text tower could not be loaded: MemoryError"):
        tower.wait(SOON_S)
    load.fail_with = None
    assert tower.wait(SOON_S).info.engine == "fake"


def test_a_load_that_failed_a_moment_ago_is_not_tried_at_once() -> None:
    loader = Loader()
    loader.fail_with = ModelUnavailable("no weights")
    tower = make(loader, retry_pause_s=60)
    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="no weights") as raised:
            tower.wait(SOON_S)
    assert loader.calls == 1
    assert raised.value.retry_after_s == 60


def test_a_foreign_error_while_loading_tells_the_caller_nothing_of_itself() -> None:
    loader = Loader()
    loader.fail_with = MemoryError("/secret/path")
    with pytest.raises(
        ModelUnavailable, match="the text tower could not be loaded: MemoryError"
    ) as raised:
        make(loader).wait(SOON_S)
    assert "secret" not in str(raised.value)


def test_items_are_encoded_by_the_loaded_tower() -> None:
    tower = make(Loader())
    tower.wait(SOON_S)
    job = tower.batcher.open(1)
    job.put(0, np.zeros(3, np.int64))
    (row,) = job.wait(time.monotonic() + SOON_S)
    np.testing.assert_array_equal(row, [0, 0, 0, 1])  # type: ignore[arg-type]


def fake_model(preprocessing: Preprocessing | None = None, loader: Loader | None = None) -> Model:
    """A model of two fake towers."""
    used = preprocessing or Preprocessing(8, (0, 0, 0), (1, 1, 1))
    spec = ModelSpec("fake", "Fake", "for tests", OpenClipTower(), OpenClipTower(), 4)
    image: Tower[FakeImage, Pixels] = Tower("image", lambda: FakeImage(used), LIMITS)
    return Model(spec, make(loader or Loader()), image)  # type: ignore[arg-type] # towers are invariant in their encoder


def fake_model_of(engine: FakeEngine) -> Model:
    """A model as `open_model` makes it, with an engine that knows no fingerprint beforehand."""
    spec = ModelSpec("fake", "Fake", "for tests", OpenClipTower(), OpenClipTower(), 4)
    return open_model(spec, EngineOptions(Path()), [engine], LIMITS)


def test_the_fingerprint_is_that_of_both_sides_once_they_are_loaded() -> None:
    model = fake_model()
    model.text.wait(SOON_S)
    assert model.fingerprint is None
    model.image.wait(SOON_S)
    sides = FakeText.info.fingerprint, FakeImage.info.fingerprint
    assert model.fingerprint == Fingerprints.of_sides(*sides).pair


def test_an_encoder_is_tried_unless_a_call_waits_for_it() -> None:
    """A preload and GET /health find out what does not run; a call finds out by itself."""
    engine = FakeEngine()
    model = fake_model_of(engine)
    model.image.wait(SOON_S)
    assert engine.image.encoded == 0
    model.close()
    model.preload(("image",))
    model.image.wait(SOON_S)
    assert engine.image.encoded == 1


def test_an_encoder_that_fails_its_trial_is_not_loaded() -> None:
    def trial(_: FakeText) -> TokenIds:
        return np.array(list(map(ord, "poison")))

    tower: Tower[FakeText, TokenIds] = Tower("text", FakeText, LIMITS, trial=trial)
    tower.start_loading()
    with pytest.raises(ModelUnavailable, match="could not be loaded: EncodingError"):
        tower.wait(SOON_S)


def test_the_fingerprint_of_an_answer_does_not_wait_for_the_other_tower() -> None:
    engine = FakeEngine()
    model = fake_model_of(engine)
    assert model.find_fingerprint(SOON_S) is None, "nothing is loaded, so nothing is read"
    model.text.wait(SOON_S)
    sides = FakeText.info.fingerprint, FakeImage.info.fingerprint
    assert model.find_fingerprint(SOON_S) == Fingerprints.of_sides(*sides).pair
    assert model.fingerprint is not None
    assert model.image.encoder is None


def test_an_answer_has_no_fingerprint_if_the_weights_of_the_other_tower_are_not_here() -> None:
    engine = FakeEngine()
    engine.image_failure = ModelUnavailable("not in the cache")
    model = fake_model_of(engine)
    model.text.wait(SOON_S)
    assert model.find_fingerprint(SOON_S) is None
    engine.image_failure = None
    assert model.find_fingerprint(SOON_S) is None, "one try, as it may take seconds"
    model.image.wait(SOON_S)
    assert model.fingerprint is not None


def test_a_closed_tower_lets_its_callers_go_and_takes_nothing_more() -> None:
    loader = Loader()
    tower = make(loader)
    tower.wait(SOON_S)
    job = tower.batcher.open(1)
    tower.close()
    assert tower.encoder is None
    assert job.wait(time.monotonic() + SOON_S) == [None]
    with pytest.raises(Cancelled):
        tower.batcher.open(1)
