"""What each requirements file installs; `make serve` installs enough for a bundle."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.fresh import HEAVY, install, needed_by, packages_of
from tests.e2e.server import serve
from tests.image_urls import FOX
from tests.paths import ROOT


def test_a_bundle_is_served_without_torch(serve_python: Path, tmp_path: Path) -> None:
    installed = packages_of(serve_python)
    assert "onnxruntime" in installed
    assert not installed & HEAVY
    for model in ("demo", "demo-mclip"):
        with serve(tmp_path, python=serve_python, CLIP_MODEL=model) as server:
            body = server.post(
                "/embed/mixed", {"texts": ["a fox", "a pizza"], "urls": [FOX]}
            ).json()
            fox, pizza = (
                sum(map(float.__mul__, text, body["image_embeddings"][0]))
                for text in body["text_embeddings"]
            )
            assert fox > pizza
            assert server.get("/").json()["text"]["engine"] == "onnx"


def test_a_model_without_a_bundle_says_what_is_missing(serve_python: Path, tmp_path: Path) -> None:
    with serve(
        tmp_path, python=serve_python, CLIP_MODEL="clip", CLIP_WEIGHTS_DIR="nowhere"
    ) as server:
        response = server.post("/embed/text", {"texts": ["a fox"]})
        assert (response.status_code, response.json()["code"]) == (503, "model_unavailable")
        assert "torch" in response.json()["detail"]


@pytest.mark.parametrize("name", ["requirements-storage.txt", "requirements.txt"])
def test_each_requirements_file_names_packages_that_fit_each_other(
    request: pytest.FixtureRequest, name: str, tmp_path: Path
) -> None:
    """And installs in a fresh environment, as the platform's build does it, with `--hostile`."""
    names = set(needed_by(ROOT / name))
    if request.config.getoption("--hostile"):
        names = packages_of(install(tmp_path / "environment", ROOT / name))
    assert (names & HEAVY == HEAVY) is (name == "requirements.txt")


def test_this_environment_is_consistent() -> None:
    subprocess.run([sys.executable, "-m", "pip", "check"], check=True)
