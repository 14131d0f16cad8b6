"""Measure the function beside its peers: `make bench-peers [PEERS="infinity immich"] [QUICK=1]`.

All have the same random weights of ViT-B/32 and the same images. The services take turns in rounds,
and each figure is a median. A service whose vectors are not ours is refused. Writes
build/peers.json. All figures come from one machine in one run, so only the ratios hold elsewhere.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from statistics import median

import numpy as np

from tests.benchmarks.checkpoints import captions, write_bundle
from tests.benchmarks.machine import machine
from tests.benchmarks.peers import weights
from tests.benchmarks.peers.systems import (
    ABSENT,
    ENCODERS,
    ENVIRONMENT,
    PROGRAMS,
    SYSTEMS,
    Ask,
    System,
    first_vector,
    python_of,
)
from tests.benchmarks.services import Service, pictures
from tests.paths import ROOT

CALLERS = (1, 16, 64)
REPORT = ROOT / "build" / "peers.json"
UNITS = {"start": "ms", "memory": "MB", "texts": "texts/s", "images": "images/s"}
MAX_ASKS = 100  # of more requests one after another, the time is extrapolated
SAME = 0.99  # int8 and resizing in the neighbour's way move a vector by less
Running = dict[str, tuple[System, Service]]


class PeerBench:
    """The figures by name and unit, and then by system."""

    def __init__(self, systems: Sequence[System], rounds: int, seconds: float) -> None:
        self.systems = systems
        self.rounds = rounds
        self.seconds = seconds
        self.values: dict[tuple[str, str], dict[str, list[float]]] = {}

    def note(self, system: str, name: str, unit: str, value: float) -> None:
        """One measured value."""
        self.values.setdefault((name, unit), {}).setdefault(system, []).append(value)
        print(f"{system:22} {name:34} {value:10.1f} {unit}", flush=True)

    def cold_start(self, system: System, service: Service, url: str) -> None:
        """From the process's start to the first text and image, and what that took."""
        seconds = service.first_answer_s(*system.texts(["a fox"])[0])
        self.note(system.name, "first text after the start", "ms", seconds * 1000)
        seconds = service.first_answer_s(*system.image(f"{url}/0.jpg"))
        self.note(system.name, "first text and image", "ms", seconds * 1000)
        self.note(system.name, "first text and image, CPU time", "ms", service.cpu_s() * 1000)
        self.note(system.name, "memory, both towers", "MB", service.resident_mb())

    def check(self, running: Running, url: str) -> None:
        """Refuse to compare with a service that computes something else."""
        for what in ("text", "image"):
            vectors = {}
            for name, (system, service) in running.items():
                texts, image = system.texts(["a red house"])[0], system.image(f"{url}/1.jpg")
                answer = service.post(*(texts if what == "text" else image))
                vector = np.asarray(first_vector(answer))
                vectors[name] = vector / np.linalg.norm(vector)
            for name, vector in vectors.items():
                cosine = float(vector @ vectors["fp32"])
                assert cosine > SAME, f"{name}: the cosine of its {what} to ours is {cosine:.3f}"

    def http(self, running: Running, url: str) -> None:
        """One text or one image a request."""
        for what in ("text", "image"):
            for callers in CALLERS:
                for name, (system, service) in running.items():
                    asks = _singles(system, what, url)
                    used = service.cpu_s()
                    found = service.load(
                        callers, self.seconds, asks[0][0], [body for _, body in asks]
                    )
                    used = (service.cpu_s() - used) / found["answered"]
                    assert not found["failed"], f"{name}: {found}"
                    label = f"{callers} callers, one {what}"
                    self.note(name, label, f"{what}s/s", found["rate"])
                    self.note(name, f"{label}, refused", "requests", found["refused"])
                    self.note(name, f"{label}, CPU time", "ms", used * 1000)
                    self.note(name, f"{label}, p50", "ms", found["p50"])
                    self.note(name, f"{label}, p99", "ms", found["p99"])

    def large(self, running: Running, url: str) -> None:
        """A thousand texts, in as few requests as possible, and a large image."""
        for name, (system, service) in running.items():
            self._time(name, "1,000 texts", service, system.texts(captions(1000)))
        for _ in range(2 * self.rounds):
            for name, (system, service) in running.items():
                image = system.image(f"{url}/large.jpg")
                self._time(name, "a 12-megapixel JPEG", service, [image])

    def _time(self, name: str, label: str, service: Service, asks: Sequence[Ask]) -> None:
        started = time.perf_counter()
        for ask in asks[:MAX_ASKS]:
            service.post(*ask)
        seconds = (time.perf_counter() - started) * len(asks) / len(asks[:MAX_ASKS])
        self.note(name, label, "ms", seconds * 1000)

    def services(self) -> None:
        """All groups of the services. They start one after another, while the others are idle."""
        with pictures() as url:
            for _ in range(self.rounds - 1):
                for system in self.systems:
                    with system.start() as service:
                        self.cold_start(system, service, url)
            with ExitStack() as stack:
                running = {}
                for system in self.systems:
                    service = stack.enter_context(system.start())
                    self.cold_start(system, service, url)
                    running[system.name] = (system, service)
                self.check(running, url)
                for _ in range(self.rounds):
                    self.http(running, url)
                self.large(running, url)

    def encoders(self, wanted: Collection[str]) -> None:
        """Encoders alone, each in a process of its own."""
        names = [name for name in ENCODERS if name in wanted]
        for name in names:
            alone(name, 0)  # openvino quantizes its graphs once
        for _ in range(self.rounds):
            for name in names:
                for figure, value in alone(name, self.seconds).items():
                    self.note(name, f"encoder alone, {figure}", UNITS[figure], value)

    def report(self) -> dict[str, object]:
        """What is written to build/peers.json."""
        figures = [
            {"name": name, "unit": unit, "values": {one: median(v) for one, v in values.items()}}
            for (name, unit), values in self.values.items()
        ]
        titles = {system.name: system.title for system in self.systems}
        titles |= {name: title for name, (title, _) in ENCODERS.items()}
        return {"titles": titles, "figures": figures, "absent": ABSENT}


def _singles(system: System, what: str, url: str) -> list[Ask]:
    if what == "text":
        return [system.texts([caption])[0] for caption in captions(500)]
    return [system.image(f"{url}/{number}.jpg") for number in range(8)]


def alone(name: str, seconds: float) -> dict[str, float]:
    """What programs/alone.py prints of one engine."""
    _, folder = ENCODERS[name]
    python = python_of(name) if python_of(name).exists() else sys.executable
    command = [str(python), str(PROGRAMS / "alone.py"), name, str(folder), str(seconds)]
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return figures


def main(arguments: Sequence[str]) -> None:
    """Run and write build/peers.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", nargs="*", help="names of peers; all if it is left out")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parsed = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the services are ended too
    wanted = {"int8", "fp32", *(parsed.peers or [*ENCODERS, *(one.name for one in SYSTEMS)])}
    write_bundle("clip")
    weights.write_layouts()
    where, started = machine(), time.monotonic()
    systems = [system for system in SYSTEMS if system.name in wanted]
    bench = PeerBench(systems, 1 if parsed.quick else 2, 1.5 if parsed.quick else 2.5)
    try:
        bench.services()
        bench.encoders(wanted)
    finally:  # what was measured before an interruption is worth something too
        REPORT.write_text(json.dumps({"machine": where} | bench.report(), indent=1) + "\n")
    print(f"{REPORT.relative_to(ROOT)} in {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main(sys.argv[1:])
