"""Turns images into vectors, with the image pipeline and the queue of the image tower."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from common.allowance import Allowance
from common.batcher import Job, Result, Vector
from common.errors import Cancelled, CorruptImage, ImageError, ImageTimeout, ServiceError
from common.items import Image
from common.models.spec import ImageEncoder, Pixels
from common.models.tower import Tower
from common.observer import Observer

if TYPE_CHECKING:
    from common.images.pipeline import ImagePipeline


class LazyPipeline(Protocol):
    """Builds the image pipeline with the first image, so that texts do not import its modules."""

    def get(self) -> "ImagePipeline":
        """The pipeline, shared by all threads; built on the first call."""
        ...

    def close(self) -> None:
        """End what the pipeline uses, if it was built."""
        ...


class ImageRun:
    """The images of one call whose downloads and decodes have started; `collect` waits for them."""

    def __init__(self, images: Sequence[Image], job: Job[Pixels]) -> None:
        self.images = images
        self.job = job


class ImageSide:
    """Encodes images with one tower. Equal images of a call are read and encoded once."""

    def __init__(
        self,
        tower: Tower[ImageEncoder, Pixels],
        pipeline: LazyPipeline,
        load_timeout_s: float,
    ) -> None:
        self._tower = tower
        self._pipeline = pipeline
        self._load_timeout_s = load_timeout_s

    def start(self, images: Sequence[Image], allowance: Allowance, observer: Observer) -> ImageRun:
        """Start to read the images and return at once. Raises ServiceError if the queue is full."""
        # It loads while the pipeline's modules load and the images download.
        self._tower.start_loading(for_a_call=True)
        from common.images.pipeline import Sink

        unique = list(dict.fromkeys(images))
        job = self._tower.open_job(len(unique), allowance)
        load_timeout_s = min(self._load_timeout_s, allowance.remaining_s())
        sink = Sink(lambda: self._tower.wait(load_timeout_s).preprocessing, job.put, job.settle)
        self._pipeline.get().run(unique, sink, allowance, observer)
        return ImageRun(unique, job)

    def collect(
        self, run: ImageRun, allowance: Allowance, observer: Observer
    ) -> dict[Image, Vector | ImageError]:
        """Wait for the vector of each distinct image, or the error that prevented one.

        Images that are not ready by the deadline get ImageTimeout. Raises ServiceError if the tower
        could not be loaded or the call was cancelled.
        """
        try:
            self._tower.wait(min(self._load_timeout_s, allowance.remaining_s()))
            results = run.job.wait(allowance.deadline)
        finally:
            run.job.abandon()
        if allowance.cancellation.cancelled:
            raise Cancelled("the call was cancelled")
        run.job.report(observer)
        some_worked = any(isinstance(result, np.ndarray) for result in results)
        outcomes = {
            image: _outcome(result, some_worked)
            for image, result in zip(run.images, results, strict=True)
        }
        for image, outcome in outcomes.items():
            if isinstance(outcome, ImageError):
                observer.image_failed(image, outcome)
        return outcomes


def _outcome(result: Result, some_worked: bool) -> Vector | ImageError:
    """The image's vector or its own error.

    Raises errors that concern all images: the tower is not available, or the engine fails on each.
    """
    if result is None:
        return ImageTimeout("the request's time ran out before this image was embedded")
    if isinstance(result, ServiceError):
        raise result
    if isinstance(result, Exception) and not isinstance(result, ImageError):
        if not some_worked:
            raise result
        return CorruptImage("this image could not be encoded", reason=type(result).__name__)
    return result
