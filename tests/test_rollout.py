"""Deployments replayed: the real gcloud and the build's own steps against an API on loopback."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import rollout, submit
from deploy.verdict import Requests, objection
from tests.fake_cloud import FakeCloud, FakeService, fake_cloud
from tests.gcloud import needs_gcloud
from tests.paths import ROOT

BUILD = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
SCRIPTS = {step["id"]: step["script"] for step in BUILD["steps"]}
STEPS = ("hold", "deploy", "smoke", "promote")
GCLOUD_WITH_A_TOKEN = """#!/bin/sh
if [ "$1 $2" = "auth print-identity-token" ]; then echo "token for $3"; exit; fi
exec "{gcloud}" "$@"
"""
MAKE = """#!/bin/sh
echo "$TOKEN $*" >> smoked
[ ! -e unwell ]
"""
FIRST, SECOND, THIRD = (f"clip-{number:05}-rev" for number in (1, 2, 3))
TARGET = rollout.Target("acme", "us-central1", "clip")


@dataclass
class Build:
    """Cloud Build's steps from `hold` on, in a folder of their own."""

    folder: Path
    cloud: FakeCloud
    environment: dict[str, str]

    def run(self, **changes: str) -> str:
        """The step that failed and its words; empty if all passed."""
        own = {
            name: value.replace("${PROJECT_ID}", "acme")
            for name, value in BUILD["substitutions"].items()
        }
        own |= {"PROJECT_ID": "acme", "_NAME": "clip"} | changes
        for step in STEPS:
            done = subprocess.run(
                ["bash", "-c", SCRIPTS[step]],
                cwd=self.folder,
                env=self.environment | own,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                return f"{step}: {done.stderr}"
        return ""

    @property
    def service(self) -> FakeService:
        """What is there now."""
        return self.cloud.services["clip"]


@pytest.fixture
def build(tmp_path: Path, gcloud: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    programs = tmp_path / "bin"
    programs.mkdir()
    texts = {
        "gcloud": GCLOUD_WITH_A_TOKEN.format(gcloud=gcloud),
        "make": MAKE,
        "python3": f'#!/bin/sh\nexec "{sys.executable}" "$@"\n',
    }
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    function = tmp_path / "build" / "function"
    function.mkdir(parents=True)
    (function / "main.py").write_text("def embed(request): ...\n")
    (function / "requirements.txt").touch()
    with fake_cloud(tmp_path) as cloud:
        path = f"{programs}:{os.environ['PATH']}"
        environment = cloud.environment | {"PATH": path, "PYTHONPATH": str(ROOT)}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield Build(tmp_path, cloud, environment)


@needs_gcloud
def test_a_second_deployment_gets_traffic_after_its_smoke_test_and_can_be_taken_back(
    build: Build,
) -> None:
    assert build.run() == ""
    assert build.service.shares() == {FIRST: 100}
    assert build.service.tags() == {"current": FIRST}

    assert build.run() == ""
    assert build.service.shares() == {SECOND: 100}
    assert build.service.tags() == {"current": SECOND, "previous": FIRST}
    last = (build.folder / "smoked").read_text().splitlines()[-1]
    assert "URL=https://candidate---clip-x.a.run.app" in last, "its own URL, which has no traffic"
    assert "--audiences=https://clip-x.a.run.app" in last, "a token for a tag names the service"

    (build.folder / "unwell").touch()
    assert build.run(_MEMORY="4Gi", _CONCURRENCY="8").startswith("smoke")
    assert build.service.shares() == {SECOND: 100}
    assert build.service.tags()["candidate"] == THIRD

    rollout.roll_back(TARGET)
    assert build.service.shares() == {FIRST: 100}
    rollout.roll_back(TARGET)
    assert build.service.shares() == {SECOND: 100}
    assert not [call for call in build.cloud.calls if "IamPolicy" in call]


@needs_gcloud
def test_a_function_that_an_older_build_deployed_is_pinned_first(build: Build) -> None:
    build.cloud.services["clip"] = FakeService("clip", [FIRST], changes=1)
    (build.folder / "unwell").touch()
    assert build.run().startswith("smoke")
    assert build.service.shares() == {FIRST: 100}


@needs_gcloud
def test_traffic_that_came_to_an_untested_revision_goes_back(build: Build) -> None:
    traffic: list[dict[str, Any]] = [
        {"latestRevision": True, "percent": 100},
        {"revisionName": FIRST, "tag": "current"},
    ]
    build.cloud.services["clip"] = FakeService("clip", [FIRST, SECOND], traffic, changes=1)
    rollout.tag_candidate(TARGET, build.folder / "build")
    assert build.service.shares() == {FIRST: 100}
    assert build.service.tags() == {"candidate": SECOND, "current": FIRST}


@needs_gcloud
def test_a_denied_traffic_change_stops_before_anything_is_deployed(build: Build) -> None:
    build.cloud.services["clip"] = FakeService("clip", [FIRST], changes=1)
    build.cloud.forbids = ("/services/clip",)
    assert build.run().startswith("hold")
    assert build.service.revisions == [FIRST]


@needs_gcloud
@pytest.mark.parametrize("forbids", [(), ("setIamPolicy",)])
def test_opening_is_the_operators_own_last_command(build: Build, forbids: tuple[str, ...]) -> None:
    build.cloud.services["clip"] = FakeService("clip", [FIRST], changes=1)
    build.cloud.forbids = forbids
    (command,) = submit.open_to_all(
        submit.Deployment("acme", "us-central1", "demo", "clip", {}, True)
    )
    done = subprocess.run(command, env=build.environment, capture_output=True, text=True)
    assert bool(done.returncode) is bool(forbids)
    assert ("bindings" in build.service.policy) is not bool(forbids)
    assert build.service.shares() == {FIRST: 100}


def entries(count: int, status: int, latency: str) -> list[dict[str, Any]]:
    return [{"httpRequest": {"status": status, "latency": latency}}] * count


@needs_gcloud
def test_traffic_goes_back_when_the_new_revision_fails(build: Build) -> None:
    traffic: list[dict[str, Any]] = [
        {"revisionName": FIRST, "percent": 100, "tag": "current"},
        {"revisionName": SECOND, "tag": "candidate"},
    ]
    build.cloud.services["clip"] = FakeService("clip", [FIRST, SECOND], traffic, changes=1)
    build.cloud.logs = {FIRST: entries(40, 200, "0.1s"), SECOND: entries(40, 503, "0.1s")}
    waits: list[float] = []
    with pytest.raises(rollout.RolloutError, match=r"100\.0% of 40 requests fail"):
        rollout.promote(TARGET, [10, 50, 100], 60, waits.append)
    assert waits == [60]
    assert build.service.shares() == {FIRST: 100}
    build.cloud.logs[SECOND] = entries(40, 200, "0.12s")
    rollout.promote(TARGET, [10, 50, 100], 60, waits.append)
    assert waits == [60, 60, 60]
    assert build.service.shares() == {SECOND: 100}
    assert build.service.tags() == {"current": SECOND, "previous": FIRST}


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (Requests(19, 19, 9.0), ""),
        (Requests(100, 2, 0.1), ""),
        (Requests(100, 4, 0.1), "4.0% of 100 requests fail, not 2.0%"),
        (Requests(100, 0, 0.4), ""),
        (Requests(100, 0, 0.5), "p95 is 0.500 s, over the limit of 0.400 s"),
    ],
)
def test_a_revision_is_judged_by_the_one_before(seen: Requests, says: str) -> None:
    assert objection(seen, Requests(1000, 20, 0.1)) == says


def test_the_log_is_counted_by_status_and_latency() -> None:
    log: list[dict[str, Any]] = [
        *entries(18, 200, "0.010s"),
        *entries(2, 500, "1.5s"),
        {"textPayload": "no request"},
    ]
    assert Requests.from_log(log) == Requests(20, 2, 1.5)
    assert Requests.from_log([]) == Requests(0, 0, 0.0)


@pytest.mark.parametrize("text", ["", "10", "50,10,100", "0,100", "10,10,100", "half", "100,101"])
def test_steps_grow_and_end_with_all(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        rollout.percentages(text)
    assert rollout.percentages("10,50,100") == [10, 50, 100]
