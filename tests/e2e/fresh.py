"""Fresh environments with only what a requirements file installs."""

import subprocess
import sys
from pathlib import Path

# What serving a bundle must not need.
HEAVY = {
    "torch",
    "torchvision",
    "open-clip-torch",
    "transformers",
    "multilingual-clip",
    "onnx",
    "onnxscript",
}


def environment(folder: Path, *requirements: Path) -> Path:
    """The interpreter of a new environment with these files' packages; `pip check` has passed."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    options = [option for path in requirements for option in ("-r", path)]
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-compile", *options], check=True
    )
    subprocess.run([python, "-m", "pip", "check"], check=True, capture_output=True)
    return python


def packages_of(python: Path) -> set[str]:
    """Names of the packages that it has."""
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True
    ).stdout
    return {line.split("==")[0].lower().replace("_", "-") for line in listed.splitlines()}
