"""The request that a handler works on, with the service that it may use."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.config import Settings
from common.embeddings import Embeddings
from common.errors import EncodingError
from common.items import Item, Text, size_bytes
from common.joint import Joint, join, parts_of
from common.models.model import Model
from functions.errors import FingerprintMismatch
from functions.request_record import RequestRecord
from functions.service import Service


@dataclass(frozen=True)
class Call:
    """The service and the record of one request: its deadline, timings and log facts."""

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
        """Embed the items within the request's time, and record counts and failures.

        Raises ServiceError as Embedder.embed does; EncodingError if the model fails on a text;
        FingerprintMismatch if the caller expects another model's vectors.
        """
        self._check_fingerprint()
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

    def embed_joints(self, joints: Sequence[Joint]) -> Embeddings:
        """Embed joints: one vector for each. Raises as `embed` does."""
        return join(self.embed(parts_of(joints)), joints)

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the model if this call embedded something, else None."""
        if not self.record.facts.keys() & {"texts", "images"}:
            return None
        return self.model.find_fingerprint(self.record.allowance.remaining_s())

    def _check_fingerprint(self) -> None:
        expected = self.record.expected_fingerprint
        if not expected:
            return
        if self.model.fingerprint is None:  # it is known once both towers are loaded
            for tower in self.model.towers:
                tower.start_loading()
            wait_s = self.settings.load_timeout_s
            for tower in self.model.towers:
                tower.wait(min(wait_s, self.record.allowance.remaining_s()))
        own = self.model.fingerprint
        if own != expected:
            raise FingerprintMismatch(
                f"the model's fingerprint is {own}, the request expects {expected[:100]}: "
                "nothing was embedded; vectors of two fingerprints are not comparable"
            )

    def _note(self, **counts: int) -> None:
        self.record.facts |= {name: count for name, count in counts.items() if count}
