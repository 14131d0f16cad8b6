"""Facts about the machine and the folder of this code: cores, default weights and model."""

import os
from pathlib import Path

# An absolute path, so that it does not depend on the working directory.
_CODE = Path(__file__).resolve().parents[1]
WEIGHTS_DIR = _CODE / "weights"
# A packaged function names its model here, beside main.py.
MODEL_FILE = "default_model.txt"


def default_model(folder: Path = _CODE) -> str:
    """The model to serve if none is named: the packaged one, or clip if nothing is packaged."""
    file = folder / MODEL_FILE
    return file.read_text("utf-8").strip() if file.is_file() else "clip"


def usable_cores() -> int:
    """The number of CPU cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
