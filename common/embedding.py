"""The one door: texts and image URLs in, L2-normalised vectors out.

Equal items of a request are fetched and encoded once. A bad image costs an ItemError, never its neighbours.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from common.batcher import Job, Result, Vector
from common.cache import EncodedText, TextCache
from common.config import get_settings
from common.context import get_request_context
from common.encoding import Rows, encode, spread
from common.errors import (
    CorruptImage,
    DeadlineExceeded,
    ImageError,
    ImagesFailed,
    ImageTimeout,
    ItemError,
    ServiceError,
)
from common.images.url_policy import hash_of, host_of, redact
from common.metrics import get_metrics
from common.models.registry import Model, get_model
from common.models.spec import Pixels, TextEncoder, TokenIds, Tokens, Vectors
from common.schemas import ImageRequest, Item, MixedRequest

TOKENIZE_SLICE = 64  # texts between two looks at the clock: at most 6.4 million characters, about a second
TOO_MANY_TEXTS = "the texts could not be encoded in time; send fewer at once"

if TYPE_CHECKING:
    from common.images.pipeline import ImagePipeline  # requests and Pillow cost a text request 0.2 s of its cold start

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextEmbeddings:
    """`vectors` (texts, dimensions) in order; `truncated` holds indices; `tokens` counts what was read of all texts."""

    vectors: Vectors
    truncated: list[int]
    tokens: int


@dataclass(frozen=True)
class ImageEmbeddings:
    """`vectors` (images that worked, dimensions); `indices` says which input each row belongs to."""

    vectors: Vectors
    indices: list[int]
    errors: list[ItemError]

    def rows(self, body: ImageRequest | MixedRequest) -> tuple[Rows, list[int]]:
        """Rows as `body` asks for them, and the input each belongs to: under `null` a None keeps a failed one's place.

        Raises ImagesFailed under `fail` if any image failed.
        """
        count = len(self.indices) + len(self.errors)
        if body.on_error == "fail" and self.errors:
            raise ImagesFailed(f"{len(self.errors)} of {count} images could not be embedded", self.errors)
        rows = encode(self.vectors, body.encoding_format, body.output_dtype)
        if body.on_error == "null" and self.errors:
            return spread(rows, self.indices, count), list(range(count))
        return rows, self.indices


@dataclass(frozen=True)
class ItemEmbeddings:
    """`vectors` (items that worked, dimensions); `indices` and `errors` count in the items. `tokens` as for texts."""

    vectors: Vectors
    indices: list[int]
    errors: list[ItemError]
    tokens: int


class Embedder:
    """Embeds with one model.

    `pipeline` is asked for when the first image comes; `load_timeout_s` bounds how long a request waits for a tower.
    """

    def __init__(
        self, model: Model, pipeline: "Callable[[], ImagePipeline]", cache: TextCache, load_timeout_s: float
    ) -> None:
        self.model, self._pipeline, self._cache, self._load_timeout_s = model, pipeline, cache, load_timeout_s

    def embed_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        """Raises ServiceError when the tower is not there, the queue is full, or the time is over."""
        get_request_context().facts["texts"] = len(texts)
        unique = list(dict.fromkeys(texts))
        encoded = self._cache.find(unique)
        if unknown := [text for text in unique if text not in encoded]:
            new = self._encode_texts(unknown)
            self._cache.add(new)
            encoded |= new
        get_metrics().note_items("text", len(texts))
        return TextEmbeddings(
            vectors=np.stack([encoded[text].vector for text in texts]),
            truncated=[index for index, text in enumerate(texts) if encoded[text].truncated],
            tokens=sum(encoded[text].tokens for text in texts),
        )

    def _encode_texts(self, texts: Sequence[str]) -> dict[str, EncodedText]:
        encoder = self.model.text.wait(self._load_wait_s())
        job: Job[TokenIds] = self.model.text.batcher.open(len(texts))  # first: a refusal should cost nothing
        get_request_context().cancellation.on_cancel(job.abandon)
        try:
            tokens = _tokenize(encoder, texts)
            for index in sorted(range(len(texts)), key=lambda index: len(tokens[index].ids)):  # batches of like length
                job.put(index, tokens[index].ids)
            rows = job.wait(get_request_context().deadline)
        finally:
            job.abandon()
        _record_stages(job)
        return {
            text: EncodedText(_text_vector(row), read.truncated, len(read.ids), len(text))
            for text, row, read in zip(texts, rows, tokens, strict=True)
        }

    def embed_images(self, urls: Sequence[str]) -> ImageEmbeddings:
        """Raises ServiceError when the tower is not there or the queue is full; late images get `timeout`."""
        _, images = self.embed_mixed([], urls)
        return images

    def embed_mixed(self, texts: Sequence[str], urls: Sequence[str]) -> tuple[TextEmbeddings, ImageEmbeddings]:
        """Both at once: the images are fetched while the texts are encoded. Either may be empty."""
        get_request_context().held_bytes = sum(map(sys.getsizeof, (*texts, *urls)))
        job = self._start_images(urls) if urls else None
        try:
            text = self.embed_texts(texts) if texts else TextEmbeddings(np.empty((0, 0), np.float32), [], 0)
            images = self._collect_images(urls, job) if job else ImageEmbeddings(np.empty((0, 0), np.float32), [], [])
        except Exception:
            if job:
                job.abandon()
            raise
        return text, images

    def embed_items(self, items: Sequence[Item]) -> ItemEmbeddings:
        """Texts and images in any order. Raises ServiceError as the others do."""
        texts = {place: item.text for place, item in enumerate(items) if item.text is not None}
        urls = {place: item.url for place, item in enumerate(items) if item.url is not None}
        text, images = self.embed_mixed(list(texts.values()), list(urls.values()))
        places_of_images = list(urls)
        vectors = dict(zip(texts, text.vectors, strict=True))
        vectors |= {places_of_images[index]: row for index, row in zip(images.indices, images.vectors, strict=True)}
        indices = sorted(vectors)
        errors = [error.at(places_of_images[error.index]) for error in images.errors]
        rows = np.stack([vectors[place] for place in indices]) if indices else images.vectors
        return ItemEmbeddings(rows, indices, errors, text.tokens)

    def _load_wait_s(self) -> float:
        return min(self._load_timeout_s, get_request_context().remaining_s())

    def _start_images(self, urls: Sequence[str]) -> Job[Pixels]:
        from common.images.pipeline import Sink

        get_request_context().facts["images"] = len(urls)
        tower = self.model.image
        tower.start_loading()  # beside the downloads
        unique = list(dict.fromkeys(urls))
        job = tower.batcher.open(len(unique))
        get_request_context().cancellation.on_cancel(job.abandon)
        wait_s = self._load_wait_s()
        sink = Sink(lambda: tower.wait(wait_s).preprocessing, job.put, job.settle)
        self._pipeline().run(unique, sink, get_request_context().deadline)
        return job

    def _collect_images(self, urls: Sequence[str], job: Job[Pixels]) -> ImageEmbeddings:
        try:
            dimensions = self.model.image.wait(self._load_wait_s()).info.dimensions
            results = dict(zip(dict.fromkeys(urls), job.wait(get_request_context().deadline), strict=True))
        finally:
            job.abandon()
        _record_stages(job)
        errors = _image_errors(results)
        for url, error in errors.items():
            where = {"host": host_of(url), "url_hash": hash_of(url)}
            extra = {"code": error.code, "reason": error.reason, "retryable": error.retryable}
            log.warning("image not embedded", extra=where | extra)
        vectors = {url: result for url, result in results.items() if isinstance(result, np.ndarray)}
        indices = [index for index, url in enumerate(urls) if url in vectors]
        rows = np.array([vectors[urls[index]] for index in indices], np.float32).reshape(len(indices), dimensions)
        failed = [_item_error(index, url, errors[url]) for index, url in enumerate(urls) if url in errors]
        get_request_context().facts["images_failed"] = len(failed)
        get_metrics().note_items("image", len(indices), [error.code for error in failed])
        return ImageEmbeddings(rows, indices, failed)


def _tokenize(encoder: TextEncoder, texts: Sequence[str]) -> list[Tokens]:
    """In slices, so that a request of 32 MiB of text cannot outlive its deadline here. Raises DeadlineExceeded."""
    tokens: list[Tokens] = []
    for start in range(0, len(texts), TOKENIZE_SLICE):
        if not get_request_context().remaining_s():
            raise DeadlineExceeded(TOO_MANY_TEXTS)
        tokens += encoder.tokenize(texts[start : start + TOKENIZE_SLICE])
    return tokens


def _text_vector(result: Result) -> Vector:
    if result is None:
        raise DeadlineExceeded(TOO_MANY_TEXTS)
    if isinstance(result, Exception):
        raise result
    return result


def _record_stages(job: Job[TokenIds] | Job[Pixels]) -> None:
    context = get_request_context()
    context.record("queue", job.queued_s)
    context.record("encode", job.encode_s)
    context.batch_sizes += job.batch_sizes


def _image_errors(results: dict[str, Result]) -> dict[str, ImageError]:
    """What went wrong by URL. Raises what is no single image's fault: a tower that is not there, a broken engine."""
    errors: dict[str, ImageError] = {}
    for url, result in results.items():
        if isinstance(result, ServiceError):
            raise result
        if isinstance(result, ImageError):
            errors[url] = result
        elif result is None:
            errors[url] = ImageTimeout("the request's time ran out before this image was embedded")
        elif isinstance(result, Exception):
            if not any(isinstance(other, np.ndarray) for other in results.values()):
                raise result
            errors[url] = CorruptImage("this image could not be encoded", reason=type(result).__name__)
    return errors


def _item_error(index: int, url: str, error: ImageError) -> ItemError:
    return ItemError(index, redact(url), error.code, str(error), error.retryable)


@cache
def get_embedder() -> Embedder:
    """The embedder of this process, from the settings. Loads nothing and starts no thread."""

    def pipeline() -> "ImagePipeline":
        from common.images.pipeline import get_pipeline

        return get_pipeline()

    settings = get_settings()
    return Embedder(get_model(), pipeline, TextCache(settings.cache_mb * 2**20), settings.load_timeout_s)
