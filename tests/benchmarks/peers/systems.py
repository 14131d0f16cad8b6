"""The services under comparison: how each starts, and how it is asked."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.checkpoints import BUNDLES
from tests.benchmarks.peers.weights import ONNX, TRANSFORMERS
from tests.benchmarks.services import Service, ours, running
from tests.e2e.server import free_port
from tests.paths import ROOT

PEERS = ROOT / "build" / "peers"
PROGRAMS = Path(__file__).with_name("programs")
ADDRESS = ("--host", "127.0.0.1", "--port")
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    "INFINITY_MEDIA_URL_BLACKLIST": "",  # the images come from 127.0.0.1
}
Ask = tuple[str, dict[str, object]]  # a path, and the body that is sent there as JSON


@dataclass(frozen=True)
class System:
    """A service. `texts` gives one request a text where a request takes no more than one."""

    name: str
    title: str
    start: Callable[[], AbstractContextManager[Service]]
    texts: Callable[[Sequence[str]], list[Ask]]
    image: Callable[[str], Ask]


def python_of(peer: str) -> Path:
    """The Python of a peer's environment."""
    return PEERS / peer / "bin" / "python"


def _native_texts(texts: Sequence[str]) -> list[Ask]:
    return [("/embed/text", {"texts": list(texts)})]


def _native_image(url: str) -> Ask:
    return "/embed/image", {"urls": [url]}


def _immich_texts(texts: Sequence[str]) -> list[Ask]:
    return [("/predict", {"text": text}) for text in texts]


def _immich_image(url: str) -> Ask:
    return "/predict", {"url": url}


def _infinity_texts(texts: Sequence[str]) -> list[Ask]:
    return [("/embeddings", {"model": "clip", "input": list(texts), "modality": "text"})]


def _infinity_image(url: str) -> Ask:
    return "/embeddings", {"model": "clip", "input": [url], "modality": "image"}


def uvicorn(peer: str, program: str) -> list[str]:
    """The command that serves an application of programs/ in a peer's environment."""
    application = ["--app-dir", str(PROGRAMS), f"{program}:app", "--log-level", "warning"]
    return [str(python_of(peer)), "-m", "uvicorn", *application]


def infinity() -> list[str]:
    """Its command line, without the warm-up that would lengthen its cold start."""
    command = [str(PEERS / "infinity" / "bin" / "infinity_emb"), "v2", "--engine", "torch"]
    command += ["--model-id", str(TRANSFORMERS), "--served-model-name", "clip", "--device", "cpu"]
    return [*command, "--no-model-warmup", "--no-bettertransformer"]


@contextmanager
def _peer(name: str, command: Sequence[str], weights: Path) -> Iterator[Service]:
    port = free_port()
    environment = ENVIRONMENT | {"WEIGHTS": str(weights)}
    with running(name, [*command, *ADDRESS, str(port)], port, environment) as service:
        yield service


def _own(precision: str) -> System:
    start = partial(ours, BUNDLES, "clip", precision)
    return System(precision, f"this function, {precision}", start, _native_texts, _native_image)


SYSTEMS = (
    _own("int8"),
    _own("fp32"),
    System(
        "infinity",
        "infinity-emb 0.0.78",
        partial(_peer, "infinity", infinity(), TRANSFORMERS),
        _infinity_texts,
        _infinity_image,
    ),
    System(
        "sentence-transformers",
        "sentence-transformers",
        partial(
            _peer,
            "sentence-transformers",
            uvicorn("sentence-transformers", "sentences"),
            TRANSFORMERS,
        ),
        _native_texts,
        _native_image,
    ),
    System(
        "immich",
        "Immich's way (ONNX Runtime)",
        partial(_peer, "immich", uvicorn("immich", "immich"), ONNX),
        _immich_texts,
        _immich_image,
    ),
)
# Encoders that are measured alone: the title, and the folder that programs/alone.py is given.
ENCODERS = {
    "int8": ("this function, int8", BUNDLES),
    "fp32": ("this function, fp32", BUNDLES),
    "modern-onnx-clip": ("modern-onnx-clip 0.2.0, fp32", ONNX),
    "openvino": ("OpenVINO, int8 by NNCF", ONNX),
    "faster-clip": ("faster-clip 0.4.0, int8 weights, decodes JPEGs", TRANSFORMERS),
}
# What could not be measured, and why.
ABSENT = {
    "clip-as-service 0.8.3": "in 200 s pip finds no versions that fit its dependencies",
}


def first_vector(answer: Any) -> list[float]:
    """The first vector of an answer of any of the services."""
    found: list[float] = (
        answer["data"][0]["embedding"] if "data" in answer else answer["embeddings"][0]
    )
    return found
