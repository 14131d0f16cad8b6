"""The main class of the library: embeds texts and images as L2-normalised vectors.

Equal items of a call are read and encoded once. An item that fails gets an ItemError and does not
affect the others.
"""

from collections.abc import Sequence

from common.allowance import Allowance
from common.cache import TextCache
from common.embeddings import Embeddings, Outcome, gather
from common.image_side import ImageSide, LazyPipeline
from common.items import Item, Text
from common.models.model import Model
from common.observer import UNOBSERVED, Observer
from common.text_side import TextSide


class Embedder:
    """Embeds texts and images with one model, for any number of threads at once.

    Create one with `common.open_embedder`. Use it in a `with` block, or call `close`, to end its
    threads.
    """

    def __init__(
        self,
        model: Model,
        pipeline: LazyPipeline,
        cache: TextCache,
        load_timeout_s: float,
    ) -> None:
        self.model = model
        self._pipeline = pipeline
        self.cache = cache
        self._texts = TextSide(model.text, cache, load_timeout_s)
        self._images = ImageSide(model.image, pipeline, load_timeout_s)

    def embed(
        self,
        items: Sequence[Item],
        allowance: Allowance | None = None,
        observer: Observer = UNOBSERVED,
    ) -> Embeddings:
        """Embed `items`, texts and images in any order; images are read while texts are encoded.

        `allowance` bounds the call's time and memory; with None there is no limit.
        Raises ServiceError if nothing can be embedded now: a tower is not available, a queue is
        full, or texts were not encoded in time. A failure of one item is in the result's `errors`.
        """
        allowance = allowance or Allowance()
        texts = [item.text for item in items if isinstance(item, Text)]
        images = [item for item in items if not isinstance(item, Text)]
        run = self._images.start(images, allowance, observer) if images else None
        outcomes: dict[Item, Outcome] = {}
        try:
            if texts:
                encoded = self._texts.encode(texts, allowance, observer)
                outcomes.update((Text(text), outcome) for text, outcome in encoded.items())
            if run:
                for image, outcome in self._images.collect(run, allowance, observer).items():
                    outcomes[image] = outcome
        finally:
            if run:
                run.job.abandon()
        return gather(items, outcomes, self.model.dimensions or 0)

    def close(self) -> None:
        """End the threads and free the model's memory."""
        self.model.close()
        self._pipeline.close()

    def __enter__(self) -> "Embedder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
