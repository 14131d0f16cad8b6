"""A model at run time: its description and its two towers."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from common.batcher import BatchLimits
from common.memory import return_freed_memory
from common.models.engines import choose_engine, fingerprints_before_loading, foreseen_failure
from common.models.engines.engine import Engine
from common.models.fingerprint import Fingerprints
from common.models.spec import (
    EngineOptions,
    ImageEncoder,
    ModelSpec,
    Pixels,
    TextEncoder,
    TokenIds,
    TowerName,
)
from common.models.tower import Tower
from common.models.warm_up import WarmUp
from common.observer import UNOBSERVED, TowerObserver
from common.ranking import Logits

IMAGE_PLACES = 16  # one image takes as many queue places as 16 texts: its pixels take 150 KB
IMAGE_BURST_S = 1.0  # images arrive in bursts, because downloads take about a second too
# A text batch closes when its padded tokens exceed max_batch_size × this, so no batch runs long.
TYPICAL_TOKENS = 32
LOAD_WAIT_S = 5.0  # for the other tower, to find the fingerprint
DEFAULT_LOGIT_SCALE = 100.0  # CLIP's upper bound (Radford et al. 2021, section 2.5)

log = logging.getLogger(__name__)


class Model:
    """A model and its two towers. `open_model` creates one without loading anything."""

    def __init__(
        self,
        spec: ModelSpec,
        text: Tower[TextEncoder, TokenIds],
        image: Tower[ImageEncoder, Pixels],
        look_up_fingerprints: Callable[[], Fingerprints | None] = lambda: None,
        read_side: Callable[[TowerName], str] | None = None,
        foresee: Callable[[], str] = str,
    ) -> None:
        self.spec = spec
        self.text = text
        self.image = image
        self._look_up_fingerprints = look_up_fingerprints
        self._read_side = read_side
        self._foresee = foresee
        self._early_fingerprints: Fingerprints | None = None
        self._finding = threading.Lock()

    @property
    def towers(self) -> tuple[Tower[TextEncoder, TokenIds], Tower[ImageEncoder, Pixels]]:
        """The text tower and the image tower."""
        return self.text, self.image

    @property
    def dimensions(self) -> int | None:
        """The length of the vectors; None while it is unknown."""
        for tower in self.towers:
            if tower.encoder is not None:
                return tower.encoder.info.dimensions
        return self.spec.dimensions

    @property
    def fingerprints(self) -> Fingerprints | None:
        """Of texts' vectors, of images' vectors and of the pair; None until they are known.

        A bundle tells them before anything is loaded. Other weights tell them when both towers are
        loaded, or after `find_fingerprint`.
        """
        text = self.text.encoder
        image = self.image.encoder
        if text is not None and image is not None:
            return Fingerprints.of_sides(text.info.fingerprint, image.info.fingerprint)
        if self._early_fingerprints is None:
            self._early_fingerprints = self._look_up_fingerprints()
        return self._early_fingerprints

    @property
    def fingerprint(self) -> str | None:
        """The pair's fingerprint: 16 hex digits, after `random-` for random weights."""
        return self.fingerprints.pair if self.fingerprints else None

    def find_fingerprint(self, timeout_s: float) -> str | None:
        """The pair's fingerprint, once a tower is loaded; None before.

        If nothing else tells it, the other tower's weights are read once and released. If that
        tower loads just now, this waits for it, at most `timeout_s` and LOAD_WAIT_S. None if its
        weights are not on this machine.
        """
        if self.fingerprints is None and any(tower.encoder for tower in self.towers):
            with self._finding:
                if self.fingerprints is None:
                    timeout_s = min(timeout_s, LOAD_WAIT_S)
                    self._early_fingerprints = self._find_fingerprints(timeout_s)
        return self.fingerprint

    def _find_fingerprints(self, timeout_s: float) -> Fingerprints | None:
        sides: list[str] = []
        for tower in self.towers:
            encoder = tower.encoder or tower.finish_loading(timeout_s)
            if encoder is not None:
                sides.append(encoder.info.fingerprint)
            elif self._read_side is not None:
                read, self._read_side = self._read_side, None  # one try, as it takes seconds
                try:
                    sides.append(read(tower.name))
                except Exception as error:  # noqa: BLE001 - the vectors are good without it
                    log.warning("the fingerprint is not known yet: %s", error)
        return Fingerprints.of_sides(*sides) if len(sides) == 2 else None

    @property
    def has_random_weights(self) -> bool:
        """Whether a loaded tower has random weights, which only benchmarks use."""
        encoders = [tower.encoder for tower in self.towers]
        return any(encoder is not None and encoder.info.random_weights for encoder in encoders)

    @property
    def logits(self) -> Logits:
        """How cosines become logits; without a scale in the weights, CLIP's upper bound is used."""
        for tower in self.towers:
            if tower.encoder is not None and tower.encoder.info.logit_scale is not None:
                return Logits(tower.encoder.info.logit_scale, tower.encoder.info.logit_bias)
        return Logits(DEFAULT_LOGIT_SCALE)

    def preload(self, towers: tuple[TowerName, ...]) -> None:
        """Start to load these towers, without waiting for them."""
        for tower in self.towers:
            if tower.name in towers:
                tower.start_loading()

    def warn_of_failure(self) -> None:
        """Log in a thread why a load would fail now, as far as that is cheap to find out."""

        def foresee() -> None:
            if failure := self._foresee():
                log.warning("the model cannot be loaded now: %s", failure)

        threading.Thread(target=foresee, name="foresee", daemon=True).start()

    def close(self) -> None:
        """Close both towers: end their queues and release their encoders."""
        for tower in self.towers:
            tower.close()


def _blank(encoder: ImageEncoder) -> Pixels:
    size = encoder.preprocessing.size
    return np.zeros((size, size, 3), np.uint8)


def open_model(
    spec: ModelSpec,
    options: EngineOptions,
    engines: Sequence[Engine],
    limits: BatchLimits,
    observer: TowerObserver = UNOBSERVED,
) -> Model:
    """Create a model whose towers load on first use.

    Each load chooses the first engine that can serve the model at that time.
    """

    def load_text(options: EngineOptions = options) -> TextEncoder:
        return choose_engine(spec, options, engines).load_text(spec, options)

    def load_image(options: EngineOptions = options) -> ImageEncoder:
        return choose_engine(spec, options, engines).load_image(spec, options)

    def read_side(tower: TowerName) -> str:
        load = load_text if tower == "text" else load_image
        fingerprint = load(replace(options, allow_download=False)).info.fingerprint
        return_freed_memory()
        return fingerprint

    text_limits = replace(limits, max_batch_cost=limits.max_batch_size * TYPICAL_TOKENS)
    places = max(1, limits.max_queue_items // IMAGE_PLACES)
    image_limits = replace(limits, max_queue_items=places, burst_s=IMAGE_BURST_S)
    warm_up = WarmUp()
    return Model(
        spec,
        Tower("text", load_text, text_limits, len, observer=observer, warm_up=warm_up),
        Tower("image", load_image, image_limits, observer=observer, warm_up=warm_up, trial=_blank),
        partial(fingerprints_before_loading, spec, options, engines),
        read_side,
        partial(foreseen_failure, spec, options, engines),
    )
