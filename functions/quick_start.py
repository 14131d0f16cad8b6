"""Makes a cold start shorter; main.py calls this around its imports.

Most of a cold start goes into imports, so this module imports nothing large itself.
"""

import gc
import os
from collections.abc import MutableMapping

# The function multiplies no large matrices with numpy, but OpenBLAS would start a thread per core.
# pydantic would search all installed packages for plugins.
SWITCHES = {"OPENBLAS_NUM_THREADS": "1", "PYDANTIC_DISABLE_PLUGINS": "__all__"}


def before_imports(environ: MutableMapping[str, str] = os.environ) -> None:
    """Set libraries' switches, unless the operator has, and stop the garbage collector."""
    for name, value in SWITCHES.items():
        environ.setdefault(name, value)
    gc.disable()  # imports make no garbage, but each collection would visit all modules


def after_imports() -> None:
    """Start the garbage collector again. It never visits what exists by now."""
    gc.freeze()
    gc.enable()
