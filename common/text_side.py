"""Turns texts into vectors, with the cache, the tokenizer and the queue of the text tower."""

from collections.abc import Sequence

from common.admission import text_cost
from common.allowance import Allowance
from common.cache import EncodedText, TextCache
from common.errors import Cancelled, DeadlineExceeded
from common.models.spec import TextEncoder, TokenIds, Tokens
from common.models.tower import Tower
from common.observer import Observer

# Texts tokenized between two checks of the deadline. They have at most 6.4 million characters,
# which take about a second.
TOKENIZE_SLICE = 64
TOO_MANY_TEXTS = "the texts could not be encoded in time; send fewer at once"


class TextSide:
    """Encodes texts with one tower. Equal texts of a call are encoded once."""

    def __init__(
        self, tower: Tower[TextEncoder, TokenIds], cache: TextCache, load_timeout_s: float
    ) -> None:
        self._tower = tower
        self._cache = cache
        self._load_timeout_s = load_timeout_s

    def encode(
        self, texts: Sequence[str], allowance: Allowance, observer: Observer
    ) -> dict[str, EncodedText | Exception]:
        """Encode each distinct text to its vector, or to the error that prevented one.

        Raises ServiceError if the tower is not available, the queue is full or the time is over.
        """
        unique = list(dict.fromkeys(texts))
        results: dict[str, EncodedText | Exception] = dict(self._cache.find(unique))
        if unknown := [text for text in unique if text not in results]:
            new = self._encode(unknown, allowance, observer)
            worked = {text: it for text, it in new.items() if isinstance(it, EncodedText)}
            encoder = self._tower.encoder
            self._cache.add(worked, is_padded=encoder is not None and encoder.info.pads_texts)
            results |= new
        return results

    def _encode(
        self, texts: Sequence[str], allowance: Allowance, observer: Observer
    ) -> dict[str, EncodedText | Exception]:
        encoder = self._tower.wait(min(self._load_timeout_s, allowance.remaining_s()))
        # Not tokenized yet: refusals are cheap.
        cost = text_cost(texts, encoder.context_length, encoder.info.pads_texts)
        job = self._tower.open_job(len(texts), allowance, cost)
        try:
            tokens = _tokenize(encoder, texts, allowance)
            by_length = sorted(range(len(texts)), key=lambda index: len(tokens[index].ids))
            for index in by_length:  # so that batches have texts of similar length
                job.put(index, tokens[index].ids)
            rows = job.wait(allowance.deadline)
        finally:
            job.abandon()
        job.report(observer)
        results: dict[str, EncodedText | Exception] = {}
        for text, row, read in zip(texts, rows, tokens, strict=True):
            if row is None:
                raise _unfinished(allowance)
            if isinstance(row, Exception):
                results[text] = row
            else:
                results[text] = EncodedText(row, read.truncated, len(read.ids), len(text))
        return results


def _tokenize(encoder: TextEncoder, texts: Sequence[str], allowance: Allowance) -> list[Tokens]:
    """Tokenize in slices, so that a large call ends soon after its deadline."""
    tokens: list[Tokens] = []
    for start in range(0, len(texts), TOKENIZE_SLICE):
        if allowance.is_over or allowance.cancellation.cancelled:
            raise _unfinished(allowance)
        tokens += encoder.tokenize(texts[start : start + TOKENIZE_SLICE])
    return tokens


def _unfinished(allowance: Allowance) -> Cancelled | DeadlineExceeded:
    if allowance.cancellation.cancelled:
        return Cancelled("the call was cancelled")
    return DeadlineExceeded(TOO_MANY_TEXTS)
