"""Write vocabularies of any size, in the file formats of XLM-RoBERTa and of SigLIP 2."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceNormalizer
from sentencepiece import sentencepiece_model_pb2 as proto

CONTROL_PIECES = ("<s>", "</s>")
# Gemma's special tokens in the order of their ids, which SigLIP 2 uses too.
GEMMA_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>")
SPACE = "▁"
_SYLLABLES = tuple("".join(pair) for pair in product("bcdfghjklmnp", "aeiou"))


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


def write_gemma_tokenizer(words: Sequence[str], size: int, folder: Path) -> None:
    """Write a byte-pair tokenizer of `size` tokens in Gemma's layout, which knows the `words`.

    Made-up words fill the rest. As in the original, every token has all its merges, so the file
    takes as much memory to load.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = _gemma_tokens(words, size)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges = [
        (token[:cut], token[cut:])
        for token in tokens
        if token not in GEMMA_SPECIAL and not token.startswith("<0x")
        for cut in range(1, len(token))
        if token[:cut] in vocabulary and token[cut:] in vocabulary
    ]
    unknown = "<unk>"
    model = models.BPE(vocabulary, merges, unk_token=unknown, byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", vocabulary["<eos>"])]
    )
    names = ("pad_token", "eos_token", "bos_token", "unk_token")
    special: dict[str, Any] = dict(zip(names, GEMMA_SPECIAL, strict=True))
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, padding_side="right", **special
    )
    wrapped.save_pretrained(folder)


def _gemma_tokens(words: Sequence[str], size: int) -> list[str]:
    """`size` tokens: special ones, bytes, letters, the words and their prefixes, made-up words.

    `size` is cut at what made-up words of up to four syllables can fill.
    """
    fixed = [*GEMMA_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = sorted({letter for word in words for letter in word} | set("".join(_SYLLABLES)))
    prefixes = sorted({word[:end] for word in words for end in range(2, len(word) + 1)}, key=len)
    made_up = (
        "".join(part) for count in (1, 2, 3, 4) for part in product(_SYLLABLES, repeat=count)
    )
    tokens = dict.fromkeys((*fixed, SPACE, *letters, *prefixes))
    tokens |= dict.fromkeys(SPACE + word for word in words)
    for word in made_up:
        if len(tokens) >= size:
            break
        tokens.setdefault(word)
    return list(tokens)[:size]
