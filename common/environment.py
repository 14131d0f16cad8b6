"""The only place that touches the process's environment."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

TELEMETRY_OFF = {  # each library's own switch
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime resolves a host, connects, and writes below HOME
    "HF_HUB_DISABLE_TELEMETRY": "1",  # transformers too
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",  # consoledonottrack.com
}


def variables() -> Mapping[str, str]:
    """All environment variables."""
    return os.environ


def disable_telemetry() -> None:
    """Switch off what libraries send home, unless the operator has set their switches already.

    Must come before those libraries are imported.
    """
    for name, value in TELEMETRY_OFF.items():
        os.environ.setdefault(name, value)


def hub_cache(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where the model hub's cache goes; None: its own choice, which needs a writable home."""
    if "HF_HOME" in environ or "HF_HUB_CACHE" in environ:
        return None
    home = environ.get("HOME", "")
    return None if home and os.access(home, os.W_OK) else Path(tempfile.gettempdir(), "huggingface")


def storage_emulator() -> str:
    """The loopback server that stands in for Cloud Storage in tests; empty outside of them."""
    return os.environ.get("STORAGE_EMULATOR_HOST", "")


def cloud_run_task() -> tuple[int, int]:
    """The number of this task of a Cloud Run job, from 0, and how many there are; else (0, 1)."""
    index = int(os.environ.get("CLOUD_RUN_TASK_INDEX", "0"))
    return index, int(os.environ.get("CLOUD_RUN_TASK_COUNT", "1"))
