"""Measure one model for the table in docs/models.md, a stage at a time.

    python -m tests.benchmarks.models export siglip2   # time, memory and fidelity of the export
    python -m tests.benchmarks.models torch siglip2    # parity with open_clip, memory by encoder
    python -m tests.benchmarks.models serve siglip2    # start, memory and rates at 16 callers
    python -m tests.benchmarks.models table            # what was measured, as Markdown

Each stage adds its figures to build/bench/models/<model>.json, and takes less than six minutes. The
weights are random and of real size. The rates come from one run beside open_clip's eager float32.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from common.models.bundle import Manifest, read_bundle
from common.models.catalog import CATALOG, resolve
from tests.benchmarks.checkpoints import BUNDLES, CHECKPOINTS, captions, checkpoint_of
from tests.benchmarks.machine import machine
from tests.benchmarks.services import Service, baseline, ours, pictures
from tests.paths import ROOT

RESULTS = ROOT / "build" / "bench" / "models"
CALLERS = 16
WORDS = 6  # with start and end, texts of eight tokens
ROUNDS = 2
SECONDS = 6.0
Figures = dict[str, Any]


def export(model: str) -> Figures:
    """The export's time and peak memory, and what the bundle holds."""
    folder = resolve(model).folder_in(BUNDLES)
    took = _run("tests.benchmarks.checkpoints", model, "bundle")
    bundle = read_bundle(folder, resolve(model))
    sizes = {
        precision: sum(_size_mb(name, bundle.manifest) for name in names)
        for precision, names in _names(bundle.manifest).items()
    }
    return took | {"sizes_mb": sizes, "fidelity": _fidelity(bundle.manifest)}


def _names(manifest: Manifest) -> dict[str, list[str]]:
    """The files of each precision, with the tokenizer's."""
    others = [name for name in manifest.sha256 if not name.endswith((".onnx", ".data", ".weights"))]
    towers = (manifest.text, manifest.image)
    return {
        precision: [tower.files[precision] for tower in towers if precision in tower.files] + others
        for precision in ("int8", "fp32")
        if any(precision in tower.files for tower in towers)
    }


def _size_mb(name: str, manifest: Manifest) -> float:
    folder = resolve(manifest.model).folder_in(BUNDLES)
    return round(sum(path.stat().st_size for path in folder.glob(f"{name}*")) / 1e6, 1)


def _fidelity(manifest: Manifest) -> Figures:
    """Of each tower and precision: cosines, influence of the batch and largest difference."""
    towers = {"text": manifest.text, "image": manifest.image}
    return {
        f"{name} {precision}": fidelity.model_dump()
        for name, tower in towers.items()
        for precision, fidelity in tower.fidelity.items()
    }


def torch(model: str) -> Figures:
    """The torch engine's memory by encoder, and its difference from open_clip."""
    checkpoint_of(model)
    towers = {
        tower: _run("tests.benchmarks.torch_towers", model, tower) for tower in ("text", "image")
    }
    return {"torch": towers}


def serve(model: str) -> Figures:
    """Start and memory by encoder, then rates beside the baseline."""
    with pictures() as image_url:
        text: object = {"texts": ["a fox"]}
        image: object = {"urls": [f"{image_url}/0.jpg"]}
        starts = {
            "text": [_start(model, ("/embed/text", text)) for _ in range(3)],
            "image": [_start(model, ("/embed/image", image)) for _ in range(3)],
            "both": [_start(model, ("/embed/text", text), ("/embed/image", image))],
        }
        rates = _rates(model, image_url)
    medians = {
        name: {key: round(float(np.median([run[key] for run in runs])), 2) for key in runs[0]}
        for name, runs in starts.items()
    }
    return {"starts": medians, "rates": rates, "machine": machine()}


def _start(model: str, *calls: tuple[str, object]) -> Figures:
    """Start a process; the seconds to its last first answer, and its memory."""
    with ours(BUNDLES, model, "auto") as service:
        seconds = [service.first_answer_s(path, body) for path, body in calls][-1]
        return {"seconds": seconds, "mb": service.resident_mb()}


def _rates(model: str, image_url: str) -> Figures:
    """Answers a second of CALLERS callers with one item each; both services take turns."""
    texts: list[object] = [{"texts": [text]} for text in captions(500, WORDS)]
    images: list[object] = [{"urls": [f"{image_url}/{number}.jpg"]} for number in range(8)]
    figures: Figures = {}
    with ExitStack() as stack:
        services = {
            "ours": stack.enter_context(ours(BUNDLES, model, "auto")),
            "eager": stack.enter_context(baseline(CHECKPOINTS / model)),
        }
        for kind, bodies in (("text", texts), ("image", images)):
            found: dict[str, list[float]] = {name: [] for name in services}
            for service in services.values():
                service.first_answer_s(f"/embed/{kind}", bodies[0])
            for _ in range(ROUNDS):
                for name, service in services.items():
                    found[name].append(_rate(service, kind, bodies))
            figures[kind] = {name: round(float(np.median(v)), 2) for name, v in found.items()}
        figures["loaded_mb"] = round(services["ours"].resident_mb())
        figures["eager_mb"] = round(services["eager"].resident_mb())
        if resolve(model).id.startswith("siglip"):
            with ours(BUNDLES, model, "auto", CLIP_CACHE_MB="") as cached:
                cached.first_answer_s("/embed/text", texts[0])
                figures["cached_text"] = round(_rate(cached, "text", texts), 1)
    return figures


def _rate(service: Service, kind: str, bodies: list[object]) -> float:
    run = service.load(CALLERS, SECONDS, f"/embed/{kind}", bodies)
    if run["failed"] or run["refused"]:
        raise RuntimeError(f"{service.name}: {run}")
    return run["rate"]


def _run(module: str, *arguments: str) -> Figures:
    """Run a module in a process of its own, whose memory is then its own; its JSON answer."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def row(model: str, found: Figures) -> list[str]:
    """One line of the table in docs/models.md: package, memory, start, rates."""
    starts, rates = found["starts"], found["rates"]

    def rate(kind: str) -> str:
        ours, eager = rates[kind]["ours"], rates[kind]["eager"]
        return f"{ours:.0f} ({ours / eager:.1f} ×)"

    return [
        f"`{model}`",
        f"{found['sizes_mb']['int8']:.0f} MB",
        " / ".join(f"{starts[name]['mb']:.0f}" for name in ("text", "image", "both")) + " MB",
        f"{starts['text']['seconds']:.1f} s",
        rate("text"),
        rate("image"),
    ]


def table() -> None:
    """Print all that was measured: a line a model, then the whole of it."""
    for spec in CATALOG:
        file = RESULTS / f"{spec.id}.json"
        if file.is_file():
            found = json.loads(file.read_text())
            print("| " + " | ".join(row(spec.id, found)) + " |")
            print(json.dumps(found))


STAGES: dict[str, Callable[[str], Figures]] = {"export": export, "torch": torch, "serve": serve}


def main(arguments: Sequence[str]) -> None:
    """Run one stage of one model, or print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.models", description=__doc__)
    parser.add_argument("stage", choices=[*STAGES, "table"])
    parser.add_argument("model", nargs="?", choices=[s.id for s in CATALOG if not s.bundle])
    parsed = parser.parse_args(arguments)
    if parsed.stage == "table":
        return table()
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"{parsed.model}.json"
    before: Figures = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(before | STAGES[parsed.stage](parsed.model), indent=1) + "\n")
    print(file.relative_to(ROOT))
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
