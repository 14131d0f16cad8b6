"""No library sends telemetry or writes files: only requested connections are made."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.environment import TELEMETRY_OFF, disable_telemetry
from tests.e2e.server import serve
from tests.e2e.tracing import Trace
from tests.paths import ROOT

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP438AAAAQBAY"
    "D718vxAAAAAElFTkSuQmCC"
)
SCRIPT = f"""
import sys
from common import ImageUrl, Text, open_embedder

with open_embedder("demo", engine=sys.argv[1]) as embedder:
    assert len(embedder.embed([Text("a fox"), ImageUrl("{PIXEL}")]).vectors) == 2
"""


def without_switches(command: list[str]) -> list[str]:
    """`command` without the switches that importing `common` has set in this process."""
    unset = [word for name in TELEMETRY_OFF for word in ("-u", name)]
    return ["env", *unset, *command]


def run_traced(trace: Trace, code: str, *arguments: str) -> None:
    environment = {**os.environ, **trace.environment()}
    command = [*without_switches(trace.command), sys.executable, "-c", code, *arguments]
    subprocess.run(command, env=environment, cwd=ROOT, check=True, timeout=180)


def assert_silent(trace: Trace) -> None:
    assert trace.lookups() == []
    assert trace.sent() == []
    assert trace.written() == []
    assert trace.left() == []


def test_the_function_is_silent_from_its_start_to_its_stop(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "trace")
    settings: Any = {**trace.environment(), "CLIP_HEALTH_WAIT_S": "60"}
    with serve(tmp_path, under=without_switches(trace.command), **settings) as server:
        assert server.get("/health").json()["status"] == "healthy"
        answer = server.post("/embed/mixed", {"texts": ["a fox"], "urls": [PIXEL]})
        assert len(answer.json()["image_embeddings"]) == 1
    assert server.process.returncode == 0
    assert_silent(trace)


def test_a_script_is_silent(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "trace")
    run_traced(trace, SCRIPT, "onnx")
    assert_silent(trace)


def test_a_script_with_torch_and_an_export_are_silent(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "trace")
    run_traced(trace, SCRIPT + "from export import optimize, build\n", "torch")
    assert_silent(trace)


def test_an_operators_own_switch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TELEMETRY_OFF:
        monkeypatch.setenv(name, "theirs")
    disable_telemetry()
    assert {os.environ[name] for name in TELEMETRY_OFF} == {"theirs"}
