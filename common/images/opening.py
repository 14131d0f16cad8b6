"""Builds the image pipeline; importing this module imports everything that images need."""

from collections.abc import Sequence

from common.cloud_storage import CloudStorage
from common.images.data_source import DataSource
from common.images.gs_source import GsSource
from common.images.http_source import HttpSource
from common.images.limits import DecodeLimits, FetchLimits
from common.images.memory_budget import LargeTurns, MemoryBudget, decode_bytes
from common.images.pipeline import ImagePipeline
from common.images.source import ImageReader, ImageSource
from common.images.url_policy import UrlPolicy
from common.memory import instance_bytes


def open_pipeline(
    storage: CloudStorage,
    fetching: FetchLimits,
    decoding: DecodeLimits,
    policy: UrlPolicy,
    sources: Sequence[ImageSource],
) -> ImagePipeline:
    """Create a pipeline with the built-in image sources and `sources`. Starts no thread."""
    own: tuple[ImageSource, ...] = (
        HttpSource(fetching, policy),
        DataSource(fetching.max_bytes),
        GsSource(storage, timeout_s=fetching.timeout_s, max_bytes=fetching.max_bytes),
    )
    reader = ImageReader((*own, *sources), fetching.max_bytes)
    memory = MemoryBudget(decode_bytes(instance_bytes()))
    return ImagePipeline(reader, decoding, memory, LargeTurns(), fetching.concurrency)
