"""What `make serve` installs is enough: an environment that holds requirements-serve.txt and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.server import ROOT, serve
from tests.e2e.test_process import FOX

HEAVY = {"torch", "torchvision", "open-clip-torch", "transformers", "multilingual-clip", "onnx", "onnxscript"}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    made = folder / "bin" / "python"
    requirements = ROOT / "requirements-serve.txt"
    subprocess.run([made, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
    return made


def test_a_bundle_is_served_without_torch(python: Path, tmp_path: Path) -> None:
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True
    ).stdout
    assert not {line.split("==")[0].lower() for line in listed.splitlines()} & HEAVY
    subprocess.run([python, "-m", "pip", "check"], check=True)
    for model in ("demo", "demo-mclip"):
        with serve(tmp_path, python=python, CLIP_MODEL=model) as server:
            body = server.post("/embed/mixed", {"texts": ["a fox", "a pizza"], "urls": [FOX]}).json()
            fox, pizza = (
                sum(map(float.__mul__, text, body["image_embeddings"][0])) for text in body["text_embeddings"]
            )
            assert fox > pizza
            assert server.get("/").json()["text"]["engine"] == "onnx"


def test_a_model_without_a_bundle_says_what_is_missing(python: Path, tmp_path: Path) -> None:
    with serve(tmp_path, python=python, CLIP_MODEL="clip") as server:
        response = server.post("/embed/text", {"texts": ["a fox"]})
        assert (response.status_code, response.json()["code"]) == (503, "model_unavailable")
        assert "torch" in response.json()["detail"]
