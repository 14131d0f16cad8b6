"""The embedding library: turns texts and images into L2-normalised CLIP vectors, without HTTP.

from common import ImageUrl, Text, open_embedder

with open_embedder("demo") as embedder:
    result = embedder.embed([Text("a fox"), ImageUrl("https://example.com/fox.jpg")])
"""

from common.allowance import Allowance
from common.embedder import Embedder
from common.embeddings import Embeddings
from common.environment import disable_telemetry
from common.errors import EmbeddingError, ItemError
from common.items import ImageBytes, ImageUrl, Item, Text
from common.opening import open_embedder

__all__ = [
    "Allowance",
    "Embedder",
    "EmbeddingError",
    "Embeddings",
    "ImageBytes",
    "ImageUrl",
    "Item",
    "ItemError",
    "Text",
    "open_embedder",
]

disable_telemetry()  # comes first: the engines' libraries read their switches at import
