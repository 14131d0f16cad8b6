"""Reads and sets the process's environment variables; no other module does."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

TELEMETRY_OFF = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime contacts a host and writes files below HOME
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub and transformers
    "RAY_USAGE_STATS_ENABLED": "0",
    "DO_NOT_TRACK": "1",  # consoledonottrack.com
}


def variables() -> Mapping[str, str]:
    """All environment variables."""
    return os.environ


def disable_telemetry() -> None:
    """Turn off the telemetry of libraries, except where the operator has set their variables.

    Call this before those libraries are imported.
    """
    for name, value in TELEMETRY_OFF.items():
        os.environ.setdefault(name, value)


def hub_cache(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder for the model hub's cache; None to keep the hub library's own default.

    The default needs a writable home folder, so without one this is a temporary folder.
    """
    if "HF_HOME" in environ or "HF_HUB_CACHE" in environ:
        return None
    home = environ.get("HOME", "")
    return None if home and os.access(home, os.W_OK) else Path(tempfile.gettempdir(), "huggingface")


def storage_emulator() -> str:
    """The address of the server that replaces Cloud Storage in tests; empty otherwise."""
    return os.environ.get("STORAGE_EMULATOR_HOST", "")
