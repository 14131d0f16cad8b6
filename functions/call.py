"""One request in hand, as its handler sees it."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.config import Settings
from common.embeddings import Embeddings
from common.errors import EncodingError
from common.items import Item, Text, size_bytes
from common.models.model import Model
from functions.request_record import RequestRecord
from functions.service import Service


@dataclass(frozen=True)
class Call:
    """The service, and the record of this request: its deadline, its timings, its log record."""

    service: Service
    record: RequestRecord

    @property
    def model(self) -> Model:
        """The served model."""
        return self.service.model

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        return self.service.settings

    def embed(self, items: Sequence[Item]) -> Embeddings:
        """Vectors of the items within the request's time, counted and logged.

        Raises ServiceError as Embedder.embed does; EncodingError if the model fails on a text.
        """
        texts = sum(isinstance(item, Text) for item in items)
        self._note(texts=texts, images=len(items) - texts)
        allowance = self.record.allowance.holding(sum(map(size_bytes, items)))
        result = self.service.embedder.embed(items, allowance, self.record)
        failed = [error for error in result.errors if not isinstance(items[error.index], Text)]
        if len(failed) < len(result.errors):
            raise EncodingError("the model could not encode a text")
        if texts:
            self.service.counters.note_items("text", texts)
        if texts < len(items):
            self.record.facts["images_failed"] = len(failed)
            codes = [error.code for error in failed]
            self.service.counters.note_items("image", len(items) - texts - len(failed), codes)
        return result

    def _note(self, **counts: int) -> None:
        self.record.facts |= {name: count for name, count in counts.items() if count}
