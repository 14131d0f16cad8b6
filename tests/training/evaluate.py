"""Recall of the demo models from their shipped files: text to image, by style and by language.

    python -m tests.training.evaluate emoji-data common/models/demo

A query is an emoji's name. The gallery is one style's images, of all its emoji or of the fixed 400.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file
from torch import Tensor

from common.models.tokenizer import XlmrTokenizer
from common.models.weights import MCLIP_TOKENIZER
from export.emoji import LANGUAGES
from tests.reference import import_open_clip
from tests.training.data import Emoji
from tests.training.distil_mclip import PAD_ID, VOCABULARY, Student
from tests.training.test_set import choose
from tests.training.train_demo import load_data, normalise

CHUNK = 128


def recall(queries: Tensor, gallery: Tensor, at: int) -> float:
    """The share of queries whose own image, of the same row, is among the first `at`."""
    scores = queries @ gallery.T
    return float(((scores > scores.diag()[:, None]).sum(1) < at).float().mean())


def report(label: str, queries: Tensor, gallery: Tensor, rows: Tensor) -> tuple[float, float]:
    """Print and return R@1 and R@5 over `rows`."""
    first, fifth = (recall(queries[rows], gallery[rows], at) for at in (1, 5))
    print(f"{label:34} n {len(rows):5}  R@1 {first:.3f}  R@5 {fifth:.3f}", flush=True)
    return first, fifth


def picture_vectors(model: torch.nn.Module, rgba: Tensor) -> Tensor:
    """Images (n, 4, s, s) uint8, composited on white → (n, d)."""
    pixels = rgba.float() / 255
    pixels = normalise(pixels[:, :3] * pixels[:, 3:] + 1 - pixels[:, 3:])
    return torch.cat([model.encode_image(chunk, normalize=True) for chunk in pixels.split(CHUNK)])  # type: ignore[operator]


def read_student(folder: Path) -> tuple[Student, XlmrTokenizer]:
    """The multilingual tower and its tokenizer."""
    student = Student(VOCABULARY).eval()
    tensors = load_file(folder / "model.safetensors")
    student.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return student, XlmrTokenizer(folder / MCLIP_TOKENIZER)


def evaluate_languages(emoji: list[Emoji], demo: Path, gallery: Tensor, fixed: Tensor) -> None:
    """Recall of the multilingual tower, each of LANGUAGES and their mean."""
    student, tokenizer = read_student(demo / "mclip")
    named = (
        torch.tensor([all(language in item.names for language in LANGUAGES) for item in emoji])
        .nonzero()
        .flatten()
    )
    for label, rows in (("all", named), ("400", fixed)):
        fifths = []
        for language in LANGUAGES:
            names = [item.names.get(language, "-") for item in emoji]
            rows_of_ids = [torch.from_numpy(tokens.ids) for tokens in tokenizer(names)]
            ids = torch.nn.utils.rnn.pad_sequence(rows_of_ids, True, PAD_ID)
            vectors = torch.cat([F.normalize(student(chunk), dim=-1) for chunk in ids.split(CHUNK)])
            fifths.append(
                report(f"demo-mclip {language} google {label}", vectors, gallery, rows)[1]
            )
        print(f"demo-mclip mean R@5 {label}: {sum(fifths) / len(fifths):.3f}", flush=True)


@torch.no_grad()
def main(data: Path, demo: Path) -> None:
    """Print all figures."""
    open_clip = import_open_clip()
    model = open_clip.create_model(f"local-dir:{demo / 'clip'}", require_pretrained=True).eval()
    emoji, styles = load_data(data)
    fixed = torch.tensor(choose(emoji))
    names = open_clip.SimpleTokenizer()([item.names["en"] for item in emoji])
    texts = torch.cat([model.encode_text(chunk, normalize=True) for chunk in names.split(CHUNK)])
    galleries = {style: picture_vectors(model, styles[style]) for style in ("google", "twitter")}
    for style, gallery in galleries.items():
        report(f"demo en {style} all", texts, gallery, torch.arange(len(emoji)))
        report(f"demo en {style} 400", texts, gallery, fixed)
    evaluate_languages(emoji, demo, galleries["google"], fixed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
