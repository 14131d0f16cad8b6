"""Turn a byte-pair `tokenizer.json` into sentencepiece's format, which loads in less memory.

SigLIP 2's vocabulary, Gemma's, has 256,000 pieces and 580,000 merges: 300 MB in the `tokenizers`
library. Its merges were made from a sentencepiece model: every way to split a piece into two is a
merge, in the order of the pieces' scores. Where that holds, sentencepiece gives the same ids.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sentencepiece import SentencePieceProcessor
from sentencepiece import sentencepiece_model_pb2 as proto

from common.models.piece_tokenizer import PieceTokenizer
from common.models.tokenizer import JsonTokenizer
from export.fidelity import evaluation_texts

SPACE = "▁"
PAD_ID = 0  # what open_clip's text towers are padded with
# Without effect behind the normaliser, which leaves no space to split at.
_SPLIT = {
    "type": "Split",
    "pattern": {"String": " "},
    "behavior": "MergedWithPrevious",
    "invert": False,
}
_NORMALIZER = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}


def lean(tokenizer: JsonTokenizer) -> PieceTokenizer | None:
    """The same tokenizer in sentencepiece's format; None if it would not give the same ids.

    Only for texts without punctuation and line ends, because added tokens all have some.
    """
    settings: dict[str, Any] = json.loads(tokenizer.tokenizer.to_str())
    model = settings["model"]
    if (
        not _fits(settings)
        or tokenizer.cleaning != "canonicalize"
        or tokenizer.erased_id is not None
    ):
        return None
    added = {token["content"] for token in settings["added_tokens"]}
    merges = [merge for merge in model["merges"] if "".join(merge) not in added]
    ranks = _ranks(model["vocab"], merges)
    if ranks is None:
        return None
    content = _write(settings, ranks)
    end = settings["post_processor"]["special_tokens"]
    (end_id,) = next(iter(end.values()))["ids"]
    converted = PieceTokenizer(
        SentencePieceProcessor(model_proto=content),
        content,
        tokenizer.context_length,
        tokenizer.cleaning,
        (end_id, PAD_ID),
        tokenizer.vocabulary_sha256(),
    )
    texts = evaluation_texts()
    pairs = zip(tokenizer(texts), converted(texts), strict=True)
    same = all(
        theirs.ids.tolist() == ours.ids.tolist() and theirs.truncated == ours.truncated
        for theirs, ours in pairs
    )
    return converted if same else None


def _fits(settings: Mapping[str, Any]) -> bool:
    """Whether it is a byte-pair model with byte fallback that only adds an end token."""
    model, template = settings["model"], settings["post_processor"] or {}
    single = template.get("single", [])
    return (
        model["type"] == "BPE"
        and bool(model.get("byte_fallback"))
        and settings["normalizer"] == _NORMALIZER
        and settings["pre_tokenizer"] in (None, _SPLIT)
        and [next(iter(part)) for part in single] == ["Sequence", "SpecialToken"]
        and (settings["padding"] or {}).get("pad_id") == PAD_ID
    )


def _ranks(vocabulary: Mapping[str, int], merges: Sequence[Sequence[str]]) -> dict[str, int] | None:
    """The rank of each merged piece; None if a piece lacks a split or the order is another."""
    ranks: dict[str, int] = {}
    counts: dict[str, int] = {}
    last = 0
    for left, right in merges:
        piece = left + right
        rank = ranks.setdefault(piece, len(ranks))
        if rank < last:
            return None
        last = rank
        counts[piece] = counts.get(piece, 0) + 1
    for piece, count in counts.items():
        cuts = range(1, len(piece))
        if sum(piece[:cut] in vocabulary and piece[cut:] in vocabulary for cut in cuts) != count:
            return None
    return ranks


def _write(settings: Mapping[str, Any], ranks: Mapping[str, int]) -> bytes:
    """The model as sentencepiece reads it, with the ids of the original."""
    messages: Any = proto  # its classes are generated at import, so it has no types
    kinds = messages.ModelProto.SentencePiece
    vocabulary: dict[str, int] = settings["model"]["vocab"]
    unknown = settings["model"]["unk_token"]
    special = {token["content"] for token in settings["added_tokens"]}
    written = messages.ModelProto()
    trainer = written.trainer_spec
    trainer.model_type = trainer.BPE
    trainer.byte_fallback = True
    trainer.unk_piece, trainer.unk_id = unknown, vocabulary[unknown]
    trainer.bos_id = trainer.eos_id = trainer.pad_id = -1
    normalizer = written.normalizer_spec
    normalizer.name = "identity"
    normalizer.add_dummy_prefix = normalizer.remove_extra_whitespaces = False
    for piece in sorted(vocabulary, key=vocabulary.__getitem__):
        if piece == unknown:
            kind = kinds.UNKNOWN
        elif piece in special:
            kind = kinds.CONTROL
        elif piece.startswith("<0x") and len(piece) == 6:
            kind = kinds.BYTE
        else:
            kind = kinds.NORMAL if piece in ranks or len(piece) == 1 else kinds.UNUSED
        written.pieces.add(piece=piece, score=-float(ranks.get(piece, 0)), type=kind)
    content: bytes = written.SerializeToString()
    return content
