"""A model: what it is, and its two towers."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from common.batcher import BatchLimits
from common.models.engines import choose_engine
from common.models.engines.engine import Engine
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
from common.observer import UNOBSERVED, TowerObserver
from common.ranking import Logits

IMAGE_PLACES = 16  # an image waits in the place of so many texts: its pixels take 150 KB
IMAGE_BURST_S = 1.0  # downloads come in bunches, and take about as long as that themselves
# A text batch ends where its padded tokens pass max_batch_size × this, so that none runs for long.
TYPICAL_TOKENS = 32
DEFAULT_LOGIT_SCALE = 100.0  # CLIP's upper bound (Radford et al. 2021, section 2.5)


class Model:
    """A model and its two towers. `open_model` makes one; it loads nothing."""

    def __init__(
        self,
        spec: ModelSpec,
        text: Tower[TextEncoder, TokenIds],
        image: Tower[ImageEncoder, Pixels],
    ) -> None:
        self.spec = spec
        self.text = text
        self.image = image

    @property
    def towers(self) -> tuple[Tower[TextEncoder, TokenIds], Tower[ImageEncoder, Pixels]]:
        """Both towers."""
        return self.text, self.image

    @property
    def dimensions(self) -> int | None:
        """Length of the vectors; None until it is known."""
        for tower in self.towers:
            if tower.encoder is not None:
                return tower.encoder.info.dimensions
        return self.spec.dimensions

    @property
    def fingerprint(self) -> str | None:
        """16 hex digits over both towers' weights and the preprocessing; None until both are loaded.

        Those of random weights begin with `random-`.
        """
        text, image = self.text.encoder, self.image.encoder
        if text is None or image is None:
            return None
        preprocessing = image.preprocessing.as_dict()
        parts = [text.info.weights_sha256, image.info.weights_sha256, preprocessing]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
        return f"random-{digest}" if self.has_random_weights else digest

    @property
    def has_random_weights(self) -> bool:
        """Whether a tower is one of a bundle made for benchmarks."""
        encoders = [tower.encoder for tower in self.towers]
        return any(encoder is not None and encoder.info.random_weights for encoder in encoders)

    @property
    def logits(self) -> Logits:
        """How cosines become logits; the scale is CLIP's bound if the weights hold none."""
        for tower in self.towers:
            if tower.encoder is not None and tower.encoder.info.logit_scale is not None:
                return Logits(tower.encoder.info.logit_scale, tower.encoder.info.logit_bias)
        return Logits(DEFAULT_LOGIT_SCALE)

    def preload(self, towers: tuple[TowerName, ...]) -> None:
        """Start loading these towers, without waiting."""
        for tower in self.towers:
            if tower.name in towers:
                tower.start_loading()

    def close(self) -> None:
        """Let go of both towers."""
        for tower in self.towers:
            tower.close()


def open_model(
    spec: ModelSpec,
    options: EngineOptions,
    engines: Sequence[Engine],
    limits: BatchLimits,
    observer: TowerObserver = UNOBSERVED,
) -> Model:
    """A model whose towers load on first use, each by the engine that can serve it at that moment."""

    def load_text() -> TextEncoder:
        return choose_engine(spec, options, engines).load_text(spec, options)

    def load_image() -> ImageEncoder:
        return choose_engine(spec, options, engines).load_image(spec, options)

    text_limits = replace(limits, max_batch_cost=limits.max_batch_size * TYPICAL_TOKENS)
    places = max(1, limits.max_queue_items // IMAGE_PLACES)
    image_limits = replace(limits, max_queue_items=places, burst_s=IMAGE_BURST_S)
    return Model(
        spec,
        Tower("text", load_text, text_limits, length_of=len, observer=observer),
        Tower("image", load_image, image_limits, observer=observer),
    )
