"""Measure `python -m bulk` beside `clip-retrieval inference`: `make bench-bulk`.

Both embed the same files with the same random weights of real size (ViT-B/32). Starting does not
count: our rate is that of the rows after the first few, (rows - few) / (seconds of all - seconds of
few), and theirs is what they state of their batches. Prints a table and writes
build/bench-bulk.json.
"""

import argparse
import csv
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from common.allowance import Allowance
from common.images.decode import prepare
from common.images.limits import DecodeLimits
from common.images.memory_budget import MemoryBudget
from common.machine import usable_cores
from common.models.catalog import resolve
from common.opening import open_embedder
from export.random_weights import write_random_weights
from tests.benchmarks.machine import machine
from tests.benchmarks.usage import Usage, measure
from tests.paths import ROOT

BUILD = ROOT / "build" / "bench-bulk"
PEER = ROOT / "build" / "peers" / "clip-retrieval" / "bin" / "python"
FEW = 64
BATCH = 8  # what the image encoder runs at a time
WORDS = "a photo of red small dog cat house tree on beach in rain with two people green car".split()


class Bench:
    """The figures by name, as (ours, clip-retrieval's or None)."""

    def __init__(self, images: int, texts: int, their_texts: int, weights: Path) -> None:
        self.images = images
        self.texts = texts
        self.their_texts = their_texts
        self.weights = weights
        self.checkpoint = BUILD / "checkpoints" / "clip" / "open_clip_model.safetensors"
        self.figures: dict[str, tuple[float, float | None]] = {}

    def add(self, name: str, ours: float, theirs: float | None = None) -> None:
        """Note and print a figure."""
        self.figures[name] = (ours, theirs)
        beside = "" if theirs is None else f"{theirs:10.2f}   ratio {ours / theirs:.2f}"
        print(f"{name:44} {ours:10.2f} {beside}", flush=True)

    def prepare(self) -> None:
        """The photos and the texts, in the forms that each side reads."""
        if not self.checkpoint.is_file():
            write_random_weights(resolve("clip"), BUILD / "checkpoints")
        random = np.random.default_rng(0)
        for folder, count in (("photos", self.images), ("few-photos", FEW)):
            for path in sorted((BUILD / folder).glob("*"))[count:]:  # of a larger run before
                path.unlink()
            for index in range(count):
                _photo(BUILD / folder / f"{index:05}.jpg", random)
        lines = [" ".join(random.choice(WORDS, 7)) for _ in range(self.texts)]
        for name, count in (("texts", self.texts), ("few-texts", FEW)):
            _csv(BUILD / f"{name}.csv", lines[:count])
        shutil.rmtree(BUILD / "texts", ignore_errors=True)
        (BUILD / "texts").mkdir()
        for index, line in enumerate(lines[: self.their_texts]):
            (BUILD / "texts" / f"{index:05}.txt").write_text(line)

    def ours(self, source: Path, model: str = "clip", *options: object) -> Usage:
        """A run of bulk from its start to its end, into a fresh folder."""
        output = BUILD / "out"
        shutil.rmtree(output, ignore_errors=True)
        return self.again(source, model, *options)

    def again(self, source: Path, model: str = "clip", *options: object) -> Usage:
        """The same run once more."""
        output = BUILD / "out"
        command = [sys.executable, "-m", "bulk", "embed", source, output, "--model", model]
        environ = {"CLIP_WEIGHTS_DIR": str(self.weights), "PATH": "/usr/bin:/bin"}
        return measure([*command, *options], environ, awaited=lambda: any(output.glob("part-*")))

    def theirs(self, kind: str, source: Path) -> tuple[float, Usage]:
        """A run of clip-retrieval, and the rate that it states of its batches.

        Loading the model and warming up, which take it longer than us, do not count.
        """
        output = BUILD / "their-out"
        shutil.rmtree(output, ignore_errors=True)
        script = ROOT / "tests" / "benchmarks" / "peer_inference.py"
        usage = measure([PEER, script, source, output, kind, self.checkpoint])
        stated = json.loads((output / "stats" / "0.json").read_text())
        return stated["sample_count"] / stated["total_duration"], usage

    def images_beside(self) -> None:
        """Images per second and memory, beside clip-retrieval."""
        self.beside("images", self.images, BUILD / "photos", BUILD / "photos")

    def texts_beside(self) -> None:
        """Texts per second and memory, beside clip-retrieval.

        clip-retrieval gets fewer texts, because it encodes about twenty a second: it pads each to
        77 tokens. The rates stay comparable, since neither depends on the number of rows.
        """
        self.beside("texts", self.texts, BUILD / "texts.csv", BUILD / "texts")

    def beside(self, kind: str, rows: int, source: Path, other: Path) -> None:
        """Embed the rows of `source`, and the same for clip-retrieval in `other`."""
        all_of, few_of = self.ours(source), self.ours(source.with_name(f"few-{source.name}"))
        rate = _rate(rows, all_of, few_of)
        if not PEER.exists():
            self.add(f"{kind}/s", rate)
            self.add(f"{kind}, peak MB", all_of.peak_mb)
            return
        their_rate, their_usage = self.theirs(kind, other)
        self.add(f"{kind}/s", rate, their_rate)
        self.add(f"{kind}, peak MB", all_of.peak_mb, their_usage.peak_mb)

    def bound(self) -> None:
        """The rate of images against what encoding and decoding alone allow."""
        paths = sorted((BUILD / "photos").iterdir())[:256]
        files = [path.read_bytes() for path in paths]
        with open_embedder("clip", weights_dir=self.weights) as embedder:
            encoder = embedder.model.image.wait(600)
            limits, memory = DecodeLimits(), MemoryBudget(2**30)
            decode_s, pixels = _cpu_of(
                lambda: [
                    prepare(file, encoder.preprocessing, limits, Allowance(), memory)
                    for file in files
                ]
            )
            starts = range(0, len(files), BATCH)
            encode_s, _ = _cpu_of(
                lambda: [encoder.encode(pixels[at : at + BATCH]) for at in starts]
            )
        alone = usable_cores() * len(files) / (decode_s + encode_s)
        self.add("decoding, CPU ms an image", decode_s / len(files) * 1e3)
        self.add("encoding, CPU ms an image", encode_s / len(files) * 1e3)
        self.add("images/s that these allow", alone)
        self.add("share of it that a run reaches", self.figures["images/s"][0] / alone)

    def memory(self) -> None:
        """10,000 rows and 100,000 rows of texts with the demo model."""
        peaks = []
        for rows in (10_000, 100_000):
            _csv(BUILD / "rows.csv", [f"{WORDS[at % 16]} {at}" for at in range(rows)])
            peaks.append(self.ours(BUILD / "rows.csv", "demo", "--shard-rows", 1_000).peak_mb)
            self.add(f"demo, {rows:,} texts, peak MB", peaks[-1])

    def start_and_resume(self) -> None:
        """The first part of a run of one row, and a finished run of 10,000 shards."""
        self.add(
            "start to first part, s", self.ours(BUILD / "few-photos", "clip", "--limit", 1).first_s
        )
        _csv(BUILD / "rows.csv", [str(at) for at in range(10_000)])
        self.ours(BUILD / "rows.csv", "demo", "--shard-rows", 1)
        run = self.again(BUILD / "rows.csv", "demo", "--shard-rows", 1)
        self.add("a finished run of 10,000 shards, s", run.wall_s)


def _photo(path: Path, random: np.random.Generator) -> None:
    """A 640×480 JPEG of soft colours with grain: about as many bytes as a photo."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        return
    coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), np.uint8))
    soft = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC), np.int16)
    grain = random.integers(-12, 13, soft.shape)
    Image.fromarray(np.clip(soft + grain, 0, 255).astype(np.uint8)).save(path, quality=85)


def _csv(path: Path, lines: list[str]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["text"], *([line] for line in lines)])


def _rate(rows: int, all_of: Usage, few: Usage) -> float:
    return (rows - FEW) / max(1e-9, all_of.wall_s - few.wall_s)


def _cpu_of(call: Callable[[], list[Any]]) -> tuple[float, list[Any]]:
    started = time.process_time()
    result = call()
    return time.process_time() - started, result


def main() -> None:
    """Run what is asked for, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--texts", type=int, default=6_000)
    parser.add_argument("--their-texts", type=int, default=600)
    parser.add_argument("--weights", type=Path, default=ROOT / "weights")
    parts = ("images_beside", "texts_beside", "bound", "memory", "start_and_resume")
    parser.add_argument("--only", nargs="*", choices=parts, default=parts)
    given = parser.parse_args()
    bench = Bench(given.images, given.texts, given.their_texts, given.weights.absolute())
    target = ROOT / "build" / "bench-bulk.json"
    if target.is_file():  # what was measured before stays, so that parts can be run one by one
        bench.figures |= json.loads(target.read_text())["figures"]
    bench.prepare()
    for name in given.only:
        getattr(bench, name)()
    report = {"machine": machine(), "figures": bench.figures}
    target.write_text(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
