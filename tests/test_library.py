"""The library in a script: no server, no settings, several models, and the script's own parts."""

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from common import Allowance, ImageBytes, ImageUrl, Text, open_embedder
from common.errors import ModelNotFound, ModelUnavailable
from export.emoji import picture_of
from tests.album import Album
from tests.fake_engine import FakeEngine
from tests.paths import ROOT

FOX = picture_of("fox")

LASTS_S = 130  # a request's deadline is 60 seconds
# A script of its own: the web framework, the server and the door that uses them cannot be imported.
# Its clock runs SPEED times as fast, and it embeds until LASTS_S of that clock are over.
SCRIPT = """
import sys, time

began, speed, lasts_s = time.monotonic(), float(sys.argv[1]), float(sys.argv[2])
clock = time.monotonic
time.monotonic = lambda: began + (clock() - began) * speed

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {
            "flask", "werkzeug", "gunicorn", "functions_framework", "functions"
        }:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
from common import open_embedder, Text, ImageBytes, ImageUrl
from export.emoji import picture_of

fox, rounds = picture_of("fox"), 0
with open_embedder(model="demo") as english, open_embedder(model="demo-mclip") as multilingual:
    while rounds < 3 or time.monotonic() - began < lasts_s:
        result = english.embed(
            [Text("a fox"), ImageBytes(fox), ImageUrl("data:,nothing"), Text("a pizza")]
        )
        other = multilingual.embed([Text("狐"), ImageBytes(fox)])
        rounds += 1
    text, image, pizza = result.vectors
    print(result.vectors.shape, result.indices, [error.code for error in result.errors])
    print(text @ image > 0.6 > pizza @ image, other.vectors[0] @ other.vectors[1] > 0.6)
print("flask" in sys.modules, "common.config" in sys.modules)
print(rounds, "rounds in", round(time.monotonic() - began), "s", file=sys.stderr)
"""


def test_a_script_embeds_with_two_models_for_longer_than_a_request_without_the_web_framework(
    effort: Callable[[int, int], int],
) -> None:
    """With `--hostile` its clock is the true one."""
    command = [sys.executable, "-c", SCRIPT, str(effort(100, 1)), str(LASTS_S)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    assert lines[0] == "(3, 256) [0, 1, 3] ['not_an_image']"
    assert lines[1] == "True True"
    assert lines[2] == "False False", "a library reads no settings"


def test_a_call_without_an_allowance_has_no_deadline() -> None:
    """A script can embed for hours: no deadline counts from the start of the process."""
    allowance = Allowance()
    assert not allowance.is_over
    assert allowance.remaining_s() == threading.TIMEOUT_MAX
    assert allowance.within(5).remaining_s() <= 5


def test_an_embedder_ends_its_threads() -> None:
    before = set(threading.enumerate())
    with open_embedder("demo") as embedder:
        embedder.embed([Text("a fox"), ImageBytes(FOX)])
        threads = set(threading.enumerate()) - before
        assert threads
    for thread in threads:
        thread.join(10)
    assert not [thread.name for thread in threads if thread.is_alive()]


def test_items_of_all_kinds_come_back_in_their_order() -> None:
    with open_embedder("demo") as embedder:
        alone = embedder.embed([ImageBytes(FOX)])
        mixed = embedder.embed([ImageBytes(b"broken", "mine.png"), Text("x"), ImageBytes(FOX)])
    assert mixed.indices == [1, 2]
    assert [(error.index, error.url) for error in mixed.errors] == [(0, "mine.png")]
    np.testing.assert_allclose(mixed.vectors[1], alone.vectors[0], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(mixed.vectors, axis=1), 1, atol=1e-5)


def test_nothing_to_embed_is_no_vectors() -> None:
    with open_embedder("demo") as embedder:
        assert embedder.embed([]).vectors.shape == (0, 256)


def test_an_unknown_model_or_engine_is_named() -> None:
    with pytest.raises(ModelNotFound, match="'nonsense'"):
        open_embedder("nonsense")
    with pytest.raises(ValueError, match=r"no engine 'abacus'; known engines: auto, onnx, torch"):
        open_embedder("demo", engine="abacus")


@pytest.mark.parametrize(
    "options",
    [{"device": "cuda"}, {"precision": "fp16"}, {"precision": "bf16"}],
)
def test_options_that_suit_no_engine_are_refused_before_anything_loads(
    options: dict[str, str],
) -> None:
    with pytest.raises(ValueError, match="the onnx engine"):
        open_embedder("demo", engine="onnx", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"bucket's bundle"):
        open_embedder("demo", weights_uri="gs://a/b", **options)  # type: ignore[arg-type]


def test_a_bundle_that_may_come_later_is_no_reason_to_refuse(tmp_path: Path) -> None:
    embedder = open_embedder("clip", engine="onnx", weights_dir=tmp_path)
    with embedder, pytest.raises(ModelUnavailable, match="no bundle in its weights folder"):
        embedder.embed([Text("a fox")])


def test_an_engine_is_added_with_one_object() -> None:
    with open_embedder("demo", engine="fake", engines=[FakeEngine()]) as embedder:
        result = embedder.embed([Text("three"), ImageBytes(FOX)])
    assert result.vectors.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]


def test_an_image_source_is_added_with_one_object() -> None:
    with open_embedder("demo", sources=[Album({"fox": FOX})]) as embedder:
        result = embedder.embed([ImageUrl("album:fox"), ImageUrl("album:cat"), ImageBytes(FOX)])
    assert result.indices == [0, 2]
    assert result.errors[0].detail == "no image 'cat' in the album"
    np.testing.assert_allclose(result.vectors[0], result.vectors[1], atol=1e-6)


class Watching:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.stages: set[str] = set()
        self.sizes: list[int] = []
        self.failed: list[str] = []

    def stage(self, name: str, seconds: float) -> None:
        self.stages.add(name)

    def batches(self, sizes: Sequence[int]) -> None:
        self.sizes += sizes

    def image_failed(self, image: object, error: Exception) -> None:
        self.failed.append(type(error).__name__)


def test_an_observer_hears_of_stages_batches_and_failures() -> None:
    watching = Watching()
    with open_embedder("demo", engine="fake", engines=[FakeEngine()]) as embedder:
        embedder.embed(
            [Text("a"), Text("bb"), ImageBytes(FOX), ImageBytes(b"broken")], observer=watching
        )
    assert watching.stages == {"fetch", "decode", "queue", "encode"}
    assert sum(watching.sizes) == 3
    assert watching.failed == ["NotAnImage"]


def test_a_bundles_fingerprints_are_known_before_anything_loads() -> None:
    with open_embedder("demo") as embedder:
        early = embedder.model.fingerprints
        assert all(tower.encoder is None for tower in embedder.model.towers)
        embedder.embed([Text("a fox"), ImageBytes(FOX)])
        assert embedder.model.fingerprints == early
    with open_embedder("demo", preprocess="reference") as reference:
        other = reference.model.fingerprints
    assert early is not None
    assert other is not None
    assert (other.text, other.image != early.image) == (early.text, True)
