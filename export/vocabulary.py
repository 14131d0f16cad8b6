"""Write a vocabulary in sentencepiece's file format, which XLM-RoBERTa uses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceNormalizer
from sentencepiece import sentencepiece_model_pb2 as proto

CONTROL_PIECES = ("<s>", "</s>")


def write_vocabulary(pieces: Sequence[tuple[str, float]], path: Path) -> None:
    """Write `pieces`, each with its log probability, in the order of their ids.

    XLM-RoBERTa's special tokens are added. The normalisation is nmt_nfkc, with which XLM-RoBERTa
    was trained.
    """
    messages: Any = proto  # its classes are generated at import, so it has no types
    model = messages.ModelProto.FromString(
        SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_model_proto()
    )
    model.trainer_spec.model_type = model.trainer_spec.UNIGRAM
    model.pieces.add(piece="<unk>", type=messages.ModelProto.SentencePiece.UNKNOWN)
    for piece in CONTROL_PIECES:
        model.pieces.add(piece=piece, type=messages.ModelProto.SentencePiece.CONTROL)
    for piece, score in pieces:
        model.pieces.add(piece=piece, score=score)
    path.write_bytes(model.SerializeToString())
