"""Distil the demo's text tower into a small multilingual one, by teacher learning as for M-CLIP.

    python -m tests.training.distil_mclip emoji-data common/models/demo/clip OUT --minutes 20

The student reads an emoji's name in any of the languages, and learns the teacher's vector of the
English name. The loss is the mean squared error, as for M-CLIP, plus a cross entropy against the
teacher's vectors of all emoji.
"""

import argparse
import json
import math
import random
import shutil
import time
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn

from common.models.tokenizer import XlmrTokenizer
from common.models.weights import MCLIP_TOKENIZER
from export.emoji import LANGUAGES as MEASURED
from export.vocabulary import write_vocabulary
from tests.reference import import_open_clip
from tests.training.data import Emoji
from tests.training.train_demo import MODEL_CONFIG, encode_texts

VOCABULARY, WIDTH, LAYERS, DIMENSIONS = 10_000, 128, 2, 256
BATCH, SEED, PEAK_RATE, WARM_UP_STEPS, PAD_ID = 384, 7, 2e-3, 30, 1
MEASURED_SHARE = (
    0.6  # of the draws: the measured languages and English, which are fewer than the others
)
ENGLISH_ARTICLES = ("a", "the")
SPECIAL_IDS = 5  # <s>, <pad>, </s>, <unk>, <mask>
SCALE = 20.0  # of the cosines in the cross entropy


class Student(nn.Module):
    """XLM-RoBERTa, masked mean, linear map; tensors named as M-CLIP's."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        import_open_clip()  # lets transformers import beside a CPU torch
        from transformers import XLMRobertaConfig, XLMRobertaModel

        config = XLMRobertaConfig(  # type: ignore[no-untyped-call]
            vocab_size=vocabulary,
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=WIDTH // 64,
            intermediate_size=2 * WIDTH,
            max_position_embeddings=514,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            bos_token_id=0,
            pad_token_id=PAD_ID,
            eos_token_id=2,
        )
        self.transformer = XLMRobertaModel(config, add_pooling_layer=False)  # type: ignore[no-untyped-call]
        self.LinearTransformation = nn.Linear(WIDTH, DIMENSIONS)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (n, length) padded with PAD_ID → vectors (n, DIMENSIONS), not normalised."""
        mask = (ids != PAD_ID).long()
        tokens = self.transformer(input_ids=ids, attention_mask=mask)[0]
        mean = (tokens * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)
        vectors: Tensor = self.LinearTransformation(mean)
        return vectors


def write_vocabulary_of(texts: list[str], path: Path) -> None:
    """A unigram vocabulary that gives VOCABULARY ids, XLM-R's special ones included."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=VOCABULARY - SPECIAL_IDS + 1, special_tokens=["<unk>"], unk_token="<unk>"
    )
    tokenizer.train_from_iterator(texts, trainer)
    _, *pieces = json.loads(tokenizer.to_str())["model"]["vocab"]
    write_vocabulary([(piece, score) for piece, score in pieces], path)


def teacher_vectors(emoji: list[Emoji], folder: Path) -> Tensor:
    """The demo's normalised vectors (emoji, DIMENSIONS) of the English names."""
    open_clip = import_open_clip()
    model = open_clip.CLIP(**MODEL_CONFIG).eval()
    tensors = load_file(folder / "open_clip_model.safetensors")
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=False)
    with torch.no_grad():
        return encode_texts(
            model, open_clip.SimpleTokenizer()([item.names["en"] for item in emoji])
        )


def pairs_of(emoji: list[Emoji]) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """(index of the emoji, its name) in the measured languages and English, and in all the others.

    English names come with articles, too: people write "a fox".
    """
    first: list[tuple[int, str]] = []
    others: list[tuple[int, str]] = []
    for index, item in enumerate(emoji):
        for language, name in item.names.items():
            (first if language in ("en", *MEASURED) else others).append((index, name))
        first += [(index, f"{article} {item.names['en']}") for article in ENGLISH_ARTICLES]
    return first, others


def save(student: Student, tokenizer: XlmrTokenizer, folder: Path) -> None:
    """Write a half-precision checkpoint in M-CLIP's layout; the weights appear last and at once."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["MultilingualCLIP"],
        "modelBase": "demo-xlm-roberta",
        "model_type": "M-CLIP",
        "numDims": DIMENSIONS,
        "transformerDimensions": WIDTH,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if tokenizer.file != folder / MCLIP_TOKENIZER:
        shutil.copyfile(tokenizer.file, folder / MCLIP_TOKENIZER)
    tensors = {
        name: tensor.detach().half().contiguous() for name, tensor in student.state_dict().items()
    }
    partial = folder / "partial.safetensors"
    save_file(tensors, partial, metadata={"format": "pt"})
    partial.chmod(0o644)
    partial.replace(folder / "model.safetensors")


def distil(
    data: Path, teacher: Path, out: Path, minutes: float, resume: Path | None = None
) -> None:
    """Train for `minutes`, from scratch or on from a folder that an earlier run wrote."""
    torch.manual_seed(SEED)
    draw = random.Random(SEED)
    emoji = [Emoji(**item) for item in json.loads((data / "emoji.json").read_text("utf-8"))]
    targets = teacher_vectors(emoji, teacher)
    pools = pairs_of(emoji)
    vocabulary = (resume or out) / MCLIP_TOKENIZER
    if not resume:
        out.mkdir(parents=True, exist_ok=True)
        write_vocabulary_of([name for pool in pools for _, name in pool], vocabulary)
    tokenizer = XlmrTokenizer(vocabulary)
    ids = [
        [tokens.ids[:64].tolist() for tokens in tokenizer([name for _, name in pool])]
        for pool in pools
    ]
    student = Student(VOCABULARY)
    if resume:
        tensors = load_file(resume / "model.safetensors")
        student.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01
    )
    started, step = time.monotonic(), 0
    while (progress := (time.monotonic() - started) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = (
                PEAK_RATE
                * min(1.0, (step + 1) / WARM_UP_STEPS)
                * 0.5
                * (1 + math.cos(math.pi * progress))
            )
        pool = [0 if draw.random() < MEASURED_SHARE else 1 for _ in range(BATCH)]
        chosen = [(which, draw.randrange(len(ids[which]))) for which in pool]
        rows = [torch.tensor(ids[which][place]) for which, place in chosen]
        wanted = torch.tensor([pools[which][place][0] for which, place in chosen])
        vectors = student(nn.utils.rnn.pad_sequence(rows, True, PAD_ID))
        squared = (vectors - targets[wanted]).square().sum(1).mean()
        loss = squared + F.cross_entropy(SCALE * F.normalize(vectors, dim=-1) @ targets.T, wanted)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            seconds = time.monotonic() - started
            print(
                f"step {step}  loss {loss.item():.3f}"
                f"  squared {squared.item():.3f}  {seconds:.0f} s",
                flush=True,
            )
    save(student, tokenizer, out)
    print(f"{step} steps in {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("teacher", type=Path, help="the folder of the demo's checkpoint")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--resume", type=Path, help="the folder of a student to start from")
    arguments = parser.parse_args()
    distil(arguments.data, arguments.teacher, arguments.out, arguments.minutes, arguments.resume)
