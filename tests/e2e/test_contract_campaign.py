"""schemathesis generates requests; every answer follows the OpenAPI document."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.e2e.server import Server
from tests.paths import ROOT

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


def test_no_generated_request_breaks_the_contract(
    demo: Server, tmp_path: Path, effort: Callable[[int, int], int]
) -> None:
    """With every check of schemathesis. A few requests for each operation.

    tests/schemathesis.toml and tests/contract_hooks.py have what no schema can tell.
    """
    count = effort(5, 150)
    hooks = {"SCHEMATHESIS_HOOKS": "tests.contract_hooks", "PYTHONPATH": str(ROOT)}
    config = ROOT / "tests" / "schemathesis.toml"
    done = subprocess.run(
        [
            *(SCHEMATHESIS, "--config-file", config, "run", f"{demo.url}/openapi.json"),
            *("--phases", "examples,fuzzing", "--max-examples", str(count), "--no-color"),
            *("--checks", "all", "--generation-database", "none", "--seed", "1"),
        ],
        env=os.environ | hooks,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
