"""Measure the function against the design it succeeds: `make bench [MODEL=clip] [QUICK=1]`.

Both services run side by side with random weights of real size. They take turns in rounds, and each
figure is a median of the rounds. Prints a table and writes build/bench.json. All figures come from
one machine in one run, so only the ratios hold elsewhere.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from common.models.catalog import CATALOG
from tests.benchmarks.checkpoints import (
    BUNDLES,
    captions,
    checkpoint_of,
    precisions_of,
    write_bundle,
)
from tests.benchmarks.encoders import Encoders, alternate, gemm
from tests.benchmarks.machine import machine
from tests.benchmarks.services import Service, baseline, ours, pictures
from tests.paths import ROOT

BUILD = ROOT / "build"


@dataclass(frozen=True)
class Result:
    """One figure. `ratio` > 1: ours is better."""

    group: str
    name: str
    unit: str
    ours: float
    baseline: float | None
    ratio: float | None
    engine: str
    precision: str


class Bench:
    """All groups; `quick` takes fewer and shorter rounds."""

    def __init__(self, model: str, quick: bool) -> None:
        self.model = model
        self.quick = quick
        self.rounds = 1 if quick else 2
        self.seconds = 2.0 if quick else 4.0
        self.callers = (16,) if quick else (1, 16, 64)
        self.tokens = (9,) if quick else (8, 20, 77)
        self.batches = (8,) if quick else (1, 8, 32)
        self.precisions = precisions_of(model)
        self.checkpoint = checkpoint_of(model)
        self.results: list[Result] = []

    def add(self, group: str, name: str, unit: str, values: dict[str, float], higher: bool) -> None:
        """One result for each of our precisions; `values` by precision, and `baseline`."""
        base = values.get("baseline")
        for precision in self.precisions:
            value = values[precision]
            ratio = None if base is None else (value / base if higher else base / value)
            self.results.append(Result(group, name, unit, value, base, ratio, "onnx", precision))
            shown_base = "" if base is None else f"{base:10.1f} ×{ratio:.1f}"
            print(
                f"{group:10} {name:34} {precision:5} {value:10.1f} {unit:10} {shown_base}",
                flush=True,
            )

    def services(self, stack: ExitStack, **settings: str) -> dict[str, Service]:
        """All of them running, both towers loaded, by name."""
        entered: dict[str, Service] = {
            p: stack.enter_context(ours(BUNDLES, self.model, p, **settings))
            for p in self.precisions
        }
        return entered | {"baseline": stack.enter_context(baseline(self.checkpoint))}

    def cold_start(self, image_url: str) -> None:
        """Group 1: from the process's start to the first vectors, and the memory after."""
        figures: dict[str, dict[str, list[float]]] = {}

        def note(name: str, what: str, seconds: float, memory: float) -> None:
            figures.setdefault(what, {}).setdefault(name, []).append(seconds * 1000)
            figures.setdefault(f"{what}, memory", {}).setdefault(name, []).append(memory)

        for _ in range(self.rounds + 1):
            for name in (*self.precisions, "baseline"):
                text, image = {"texts": ["a fox"]}, {"urls": [image_url]}
                with self.start(name) as service:
                    note(
                        name,
                        "text tower",
                        service.first_answer_s("/embed/text", text),
                        service.resident_mb(),
                    )
                    note(
                        name,
                        "both towers",
                        service.first_answer_s("/embed/image", image),
                        service.resident_mb(),
                    )
                if not self.quick:
                    with self.start(name) as service:
                        note(
                            name,
                            "image tower",
                            service.first_answer_s("/embed/image", image),
                            service.resident_mb(),
                        )
        for label, by_name in figures.items():
            medians = {name: float(np.median(values)) for name, values in by_name.items()}
            self.add("cold", label, "MB" if "memory" in label else "ms", medians, higher=False)

    def start(self, name: str) -> Any:
        """One service, not yet asked for anything."""
        if name == "baseline":
            return baseline(self.checkpoint)
        return ours(BUNDLES, self.model, name)

    def encoders(self) -> None:
        """Group 2: the encoders alone, and how near they come to the matrix product's own speed."""
        encoders = Encoders(self.model, self.checkpoint)
        peak = alternate(
            {precision: gemm(precision) for precision in self.precisions}, self.rounds + 2, 0.3
        )
        operations = 2 * 1024**3 / 1e9
        self.add(
            "encoder",
            "GEMM peak",
            "GOP/s",
            {name: operations / value for name, value in peak.items()},
            True,
        )
        for tokens in self.tokens:
            for batch in self.batches:
                times = alternate(
                    encoders.text_calls(batch, tokens), self.rounds, self.seconds / 10
                )
                label = f"texts of {tokens} tokens, batch {batch}"
                self.add(
                    "encoder",
                    label,
                    "texts/s",
                    {name: batch / value for name, value in times.items()},
                    True,
                )
        for batch in self.batches:
            times = alternate(encoders.image_calls(batch), self.rounds, self.seconds / 10)
            values = {name: batch / value for name, value in times.items()}
            self.add("encoder", f"images, batch {batch}", "images/s", values, True)

    def http(self, services: dict[str, Service], image_url: str) -> None:
        """Group 3: one text or one image a request, 1, 16 and 64 callers."""
        short: list[object] = [{"texts": [text]} for text in captions(500)]
        images: list[object] = [{"urls": [f"{image_url}/{number}.jpg"]} for number in range(8)]
        for path, bodies, what in (
            ("/embed/text", short, "text"),
            ("/embed/image", images, "image"),
        ):
            for callers in self.callers:
                rounds: dict[str, list[dict[str, float]]] = {name: [] for name in services}
                for _ in range(self.rounds):
                    for name, service in services.items():
                        rounds[name].append(service.load(callers, self.seconds, path, bodies))
                for figure, unit, higher in (
                    ("rate", f"{what}s/s", True),
                    ("p50", "ms", False),
                    ("p99", "ms", False),
                ):
                    values = {
                        n: float(np.median([one[figure] for one in runs]))
                        for n, runs in rounds.items()
                    }
                    self.add(
                        "http", f"{callers} callers, one {what}, {figure}", unit, values, higher
                    )
                failed = {name: sum(one["failed"] for one in runs) for name, runs in rounds.items()}
                assert not any(failed[precision] for precision in self.precisions), failed

    def large(self, services: dict[str, Service], image_url: str) -> None:
        """Group 4: large requests and large images."""
        cases: list[tuple[str, str, object]] = [
            ("1,000 texts in one request", "/embed/text", {"texts": captions(1000)}),
            (
                "64 images in one request",
                "/embed/image",
                {"urls": [f"{image_url}/{n % 8}.jpg?{n}" for n in range(64)]},
            ),
            ("a 12-megapixel JPEG", "/embed/image", {"urls": [f"{image_url}/large.jpg"]}),
        ]
        for label, path, body in cases:
            calls = {name: partial(service.post, path, body) for name, service in services.items()}
            times = alternate(dict(calls), self.rounds, 0)
            self.add(
                "large",
                label,
                "ms",
                {name: value * 1000 for name, value in times.items()},
                higher=False,
            )

    def overload(self) -> None:
        """Group 5: twice the sustained rate; how many are refused, and how long the others wait."""
        bodies: list[object] = [{"texts": [text]} for text in captions(500)]
        for precision in self.precisions[:1]:
            with ours(BUNDLES, self.model, precision, CLIP_MAX_QUEUE_ITEMS="16") as service:
                service.first_answer_s("/embed/text", bodies[0])
                calm = service.load(16, self.seconds, "/embed/text", bodies)
                stormy = service.load(
                    120, 10 if self.quick else 30, "/embed/text", bodies, rate=2 * calm["rate"]
                )
            for name, unit, figure in (
                ("rate at 16 callers", "texts/s", calm["rate"]),
                ("p99 at 16 callers", "ms", calm["p99"]),
                ("accepted at twice the rate", "texts/s", stormy["rate"]),
                ("p99 of the accepted", "ms", stormy["p99"]),
                ("refused with 429", "requests", stormy["refused"]),
                ("other failures", "requests", stormy["failed"]),
            ):
                self.results.append(
                    Result("overload", name, unit, figure, None, None, "onnx", precision)
                )
                print(f"overload   {name:34} {precision:5} {figure:10.1f} {unit}", flush=True)

    def run(self) -> None:
        """All groups."""
        write_bundle(self.model)
        with pictures() as image_url:
            self.cold_start(f"{image_url}/0.jpg")
            with ExitStack() as stack:
                services = self.services(stack)
                for service in services.values():
                    service.first_answer_s("/embed/text", {"texts": ["a fox"]})
                    service.first_answer_s("/embed/image", {"urls": [f"{image_url}/0.jpg"]})
                self.http(services, image_url)
                self.large(services, image_url)
        self.overload()
        self.encoders()


def main(arguments: Sequence[str]) -> None:
    """Run and write build/bench.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    presets = [spec.id for spec in CATALOG if not spec.bundle]
    parser.add_argument("--model", default="clip", choices=presets)
    parser.add_argument("--quick", action="store_true")
    parsed = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the services are ended too
    bench, where, started = Bench(parsed.model, parsed.quick), machine(), time.monotonic()
    bench.run()
    results = [asdict(result) for result in bench.results]
    report = {"machine": where, "model": parsed.model, "weights": "random", "results": results}
    path = BUILD / ("bench.json" if parsed.model == "clip" else f"bench-{parsed.model}.json")
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{path.relative_to(ROOT)} in {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main(sys.argv[1:])
