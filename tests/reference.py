"""The reference implementations that our vectors are compared with."""

import importlib
from types import ModuleType


def import_open_clip() -> ModuleType:
    """open_clip, also beside a torch that torchvision's operators were not built for."""
    importlib.import_module(
        "common.models.torch_engine.runtime"
    )  # declares the operators that torchvision lacks
    return importlib.import_module("open_clip")
