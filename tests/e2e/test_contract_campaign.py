"""schemathesis generates requests; every answer follows the OpenAPI document."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.e2e.server import Server

# Refused although the schema allows it, since no schema can tell:
# - a string that is no image's URL or base64, where one failure fails all (422, and 400 if empty)
# - `dimensions` and `output_dimension` other than the served model's
# - a model that is not served, in the JSON inside a form's `entries`
UNTELLABLE = "positive_data_acceptance"


def test_no_generated_request_breaks_the_contract(
    demo: Server, tmp_path: Path, effort: Callable[[int, int], int]
) -> None:
    """A few for each operation."""
    count = effort(5, 150)
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "run", f"{demo.url}/openapi.json"),
            *("--phases", "examples,fuzzing", "--max-examples", str(count), "--no-color"),
            *("--checks", "all", "--exclude-checks", UNTELLABLE),
            *("--generation-database", "none", "--seed", "1"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-4000:]
