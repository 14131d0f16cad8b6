"""The library's door: texts and images in, L2-normalised vectors out.

Equal items of a call are read and encoded once. A bad item costs an ItemError, never its neighbours.
"""

from collections.abc import Sequence
from types import TracebackType

import numpy as np

from common.allowance import Allowance
from common.batcher import Vector
from common.cache import EncodedText, TextCache
from common.embeddings import Embeddings
from common.errors import EmbeddingError, ImageError, ItemError
from common.image_side import ImageSide, LazyPipeline
from common.images.url_policy import redact
from common.items import ImageBytes, ImageUrl, Item, Text
from common.models.model import Model
from common.observer import UNOBSERVED, Observer
from common.text_side import TextSide


class Embedder:
    """Embeds texts and images with one model, for any number of threads at once.

    Use `common.open_embedder` to make one, and `with`, or `close`, to end its threads.
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
        self._texts = TextSide(model.text, cache, load_timeout_s)
        self._images = ImageSide(model.image, pipeline, load_timeout_s)

    def embed(
        self,
        items: Sequence[Item],
        allowance: Allowance | None = None,
        observer: Observer = UNOBSERVED,
    ) -> Embeddings:
        """Vectors of `items`, in any mixture of kinds; images are read while texts are encoded.

        `allowance` bounds the call's time and memory; None: the call takes as long as it takes.
        Raises ServiceError if nothing can be embedded now: a tower is not there, a queue is full,
        or texts were not encoded in time. A single item's failure is in the result's `errors`.
        """
        allowance = allowance or Allowance()
        texts = [item.text for item in items if isinstance(item, Text)]
        images = [item for item in items if not isinstance(item, Text)]
        run = self._images.start(images, allowance, observer) if images else None
        outcomes: dict[Item, Vector | EncodedText | Exception] = {}
        try:
            if texts:
                encoded = self._texts.encode(texts, allowance, observer)
                outcomes.update((Text(text), outcome) for text, outcome in encoded.items())
            if run:
                outcomes.update(self._images.collect(run, allowance, observer))
        finally:
            if run:
                run.job.abandon()
        return _gather(items, outcomes, self.model.dimensions or 0)

    def close(self) -> None:
        """End the threads and let go of the model's memory."""
        self.model.close()
        self._pipeline.close()

    def __enter__(self) -> "Embedder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _gather(
    items: Sequence[Item],
    outcomes: dict[Item, Vector | EncodedText | Exception],
    dimensions: int,
) -> Embeddings:
    """Each item's outcome at each of its places."""
    rows: list[Vector] = []
    result = Embeddings(np.empty((0, dimensions), np.float32), [], [], [], 0)
    tokens = 0
    for index, item in enumerate(items):
        outcome = outcomes[item]
        if isinstance(outcome, Exception):
            result.errors.append(_item_error(index, item, outcome))
            continue
        if isinstance(outcome, EncodedText):
            tokens += outcome.tokens
            if outcome.truncated:
                result.truncated.append(index)
            outcome = outcome.vector
        result.indices.append(index)
        rows.append(outcome)
    vectors = np.stack(rows) if rows else result.vectors
    return Embeddings(vectors, result.indices, result.errors, result.truncated, tokens)


def _item_error(index: int, item: Item, error: Exception) -> ItemError:
    if isinstance(error, ImageError):
        return ItemError(index, _shown(item), error.code, str(error), error.retryable)
    detail = str(error) if isinstance(error, EmbeddingError) else "this text could not be encoded"
    return ItemError(index, "", EmbeddingError.code, detail, retryable=False)


def _shown(item: Item) -> str:
    """An image as an error may name it."""
    match item:
        case ImageUrl(url):
            return redact(url)
        case ImageBytes(_, name):
            return name
        case Text():
            return ""
