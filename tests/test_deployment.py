"""What can be checked before a deploy: flags, substitutions, scripts, and the files to upload."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.config import Settings
from common.models.catalog import resolve
from deploy import submit
from deploy.package import Choice, plan, write
from deploy.submit import SIZES, Deployment
from tests.documents import snippets_of
from tests.gcloud import Cloud, needs_gcloud, unknown_flags, walled_cloud
from tests.paths import ROOT

BUILD: dict[str, Any] = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
SCRIPTS = {step["id"]: step["script"] for step in BUILD["steps"]}
BUILT_IN = {"PROJECT_ID": "acme"}
RECORDER = """#!/bin/sh
printf '%s\\0' "$0" "$@" >> "$RECORD"; printf '\\n' >> "$RECORD"
case "$*" in *describe*) exit "${MISSING:-0}" ;; esac
"""
VARIANTS: list[dict[str, str]] = [
    {},
    {"_ENGINE": "torch", "_TRAFFIC_STEPS": "10,50,100"},
    {
        "_MODEL": "ViT-L-14/openai",
        "_WEIGHTS_URI": "gs://acme-weights",
        "_FETCH_WEIGHTS": "true",
        "_SETTINGS": "CLIP_PRELOAD=text,image|CLIP_CACHE_MB=64",
    },
]


class Recorded:
    """Programs that write down how they are called, in front of the real ones."""

    def __init__(self, folder: Path) -> None:
        self.record = folder / "record"
        self.folder = folder / "bin"
        self.folder.mkdir()
        for name in ("gcloud", "make"):
            self.stand_for(name)
        self.environment = os.environ | {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "RECORD": str(self.record),
        }

    def stand_for(self, name: str) -> None:
        """Record this program from now on."""
        (self.folder / name).write_text(RECORDER)
        (self.folder / name).chmod(0o755)

    @property
    def calls(self) -> list[list[str]]:
        """The command lines so far."""
        lines = self.record.read_text().split("\0\n") if self.record.exists() else []
        return [
            [Path(words[0]).name, *words[1:]]
            for words in (line.split("\0") for line in lines if line)
        ]


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path)


@pytest.fixture
def cloud(tmp_path: Path, gcloud: Path) -> Iterator[Cloud]:
    with walled_cloud(tmp_path, gcloud) as served:
        yield served


def substitutions(**changes: str) -> dict[str, str]:
    """What Cloud Build puts into a script's environment."""
    values = {
        name: value.replace("${PROJECT_ID}", "acme")
        for name, value in BUILD["substitutions"].items()
    }
    return BUILT_IN | values | changes


def run_build(recorded: Recorded, folder: Path, changes: dict[str, str]) -> list[list[str]]:
    """The commands that the steps run, with an export that finds nothing in the bucket."""
    for name in (
        "build",
        "weights/clip",
        "weights/ViT-L-14-openai",
    ):  # which the recorded `make` does not write
        (folder / name).mkdir(parents=True, exist_ok=True)
    recorded.stand_for("python3")  # the rollout, which has tests of its own
    (folder / "build" / "audience").write_text("https://x.run.app")
    (folder / "build" / "url").write_text("https://candidate---x.run.app")
    for script in SCRIPTS.values():
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            env=recorded.environment | substitutions(**changes),
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
    return recorded.calls


def environment_of(command: list[str], flag: str = "--set-env-vars=") -> dict[str, str]:
    """The variables that a deploy command sets."""
    (value,) = [word.removeprefix(flag) for word in command if word.startswith(flag)]
    assert value.startswith("^|^")
    return dict(pair.split("=", 1) for pair in value[3:].split("|"))


def documented() -> list[list[str]]:
    """Every gcloud command in the documents; `…` or a name in capitals stands for a value."""
    commands = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for snippet in snippets_of(path.read_text("utf-8")):
            if snippet.language == "bash":
                text = re.sub(
                    r"^.*\$\((gcloud [^)]*)\).*$",
                    r"\1",
                    snippet.code.replace("\\\n", " "),
                    flags=re.MULTILINE,
                )
                commands += [
                    shlex.split(line, comments=True)
                    for line in text.splitlines()
                    if line.startswith("gcloud ")
                ]
    return commands


def submitted() -> list[list[str]]:
    """Every command of `make deploy`."""
    deployment = Deployment("acme", "us-central1", "mclip", is_open=True)
    pairs = submit.create_accounts(deployment)
    return [
        submit.enable_apis(submit.APIS, deployment.project),
        *(command for pair in pairs for command in pair),
        *submit.grant_roles(deployment),
        submit.submit_build(deployment),
        *submit.open_to_all(deployment),
        submit.describe_url(deployment),
    ]


@needs_gcloud
def test_gcloud_knows_every_flag_that_is_written_anywhere(
    recorded: Recorded, tmp_path: Path
) -> None:
    for changes in VARIANTS:
        run_build(recorded, tmp_path, changes)
    commands = [call for call in recorded.calls if call[0] == "gcloud"] + submitted() + documented()
    assert len(documented()) >= 15
    wrong = {
        shlex.join(command): flags for command in commands if (flags := unknown_flags(command))
    }
    assert not wrong
    assert unknown_flags(["gcloud", "functions", "deploy", "x", "--memmory=1Gi", "--gen2"]) == [
        "memmory"
    ]


@needs_gcloud
@pytest.mark.parametrize("changes", VARIANTS)
def test_gclouds_own_parser_takes_the_deploy(
    cloud: Cloud, recorded: Recorded, tmp_path: Path, changes: dict[str, str]
) -> None:
    """Values too, and flags that exclude each other."""
    run_build(recorded, tmp_path, changes)
    (deploy,) = [call for call in recorded.calls if call[1:3] == ["functions", "deploy"]]
    assert (taken := cloud.run(deploy, tmp_path)).returncode == 1, taken.stderr
    assert "a wall" in taken.stderr


@needs_gcloud
def test_gclouds_own_parser_refuses_what_is_wrong(
    cloud: Cloud, recorded: Recorded, tmp_path: Path
) -> None:
    run_build(recorded, tmp_path, {})
    (deploy,) = [call for call in recorded.calls if call[1:3] == ["functions", "deploy"]]
    for spoil in (
        ("--concurrency=16", "--concurrency=many"),
        ("--memory", "--memmory"),
        ("--gen2", "--gen2=yes"),
    ):
        refused = cloud.run([word.replace(*spoil) for word in deploy], tmp_path)
        assert refused.returncode == 2
        assert "argument" in refused.stderr


@needs_gcloud
def test_gcloud_reads_cloudbuild_yaml_and_sends_what_it_says(cloud: Cloud, tmp_path: Path) -> None:
    command = submit.submit_build(Deployment("acme", "us-central1", "clip"))
    command = [
        "--no-source" if word == "." else word
        for word in command
        if not word.startswith("--ignore-file")
    ]
    assert cloud.run(command, ROOT).returncode == 1
    (body,) = [body for path, body in cloud.bodies.items() if path.endswith("/builds")]
    sent = json.loads(body)
    assert [step["id"] for step in sent["steps"]] == list(SCRIPTS)
    assert sent["options"]["automapSubstitutions"] is True
    assert sent["options"]["logging"] == "CLOUD_LOGGING_ONLY", "an account of our own needs it"
    assert (
        sent["substitutions"]["_SERVICE_ACCOUNT"] == "clip-embeddings@acme.iam.gserviceaccount.com"
    )
    spoiled = tmp_path / "cloudbuild.yaml"
    spoiled.write_text(
        (ROOT / "cloudbuild.yaml")
        .read_text()
        .replace("automapSubstitutions", "automapSubstitution")
    )
    refused = cloud.run(
        [f"--config={spoiled}" if word.startswith("--config") else word for word in command], ROOT
    )
    assert "automapSubstitution" in refused.stderr


def test_substitutions_are_declared_used_and_not_mistaken_for_the_shells() -> None:
    """Scripts get substitutions as variables.

    In `args`, the shell's dollar signs would have to be doubled, so there are none.
    """
    assert BUILD["options"]["automapSubstitutions"] is True
    assert BUILD["options"]["dynamicSubstitutions"] is True, "one names ${PROJECT_ID}"
    for step in BUILD["steps"]:
        assert set(step) == {"id", "name", "script"}
        assert "$$" not in step["script"]
        assert step["script"].startswith("#!/usr/bin/env bash\nset -euo pipefail\n")
        subprocess.run(["bash", "-n"], input=step["script"].encode(), check=True)
    declared = set(BUILD["substitutions"])
    used = set(
        re.findall(r"\$\{?(_[A-Z_]+)", "\n".join(SCRIPTS.values()) + BUILD["serviceAccount"])
    )
    assert used == declared
    assert all(isinstance(value, str) for value in BUILD["substitutions"].values())
    for model in SIZES:
        assert set(Deployment("acme", "us-central1", model).all_substitutions()) <= declared
    ours = Deployment("acme", BUILD["substitutions"]["_REGION"], "clip").all_substitutions()
    assert ours == {name: substitutions()[name] for name in ours}, (
        "the defaults are those of `make deploy MODEL=clip`"
    )


@pytest.mark.parametrize("changes", VARIANTS)
def test_the_function_starts_with_the_settings_that_are_deployed(
    recorded: Recorded, tmp_path: Path, changes: dict[str, str]
) -> None:
    run_build(recorded, tmp_path, changes)
    (deploy,) = [call for call in recorded.calls if call[1:3] == ["functions", "deploy"]]
    variables = environment_of(deploy)
    settings = Settings.from_env(variables)
    assert settings.model == changes.get("_MODEL", "clip")
    assert settings.engine == changes.get("_ENGINE", "onnx"), (
        "a missing bundle must not become a download"
    )
    assert int(variables["THREADS"]) >= int(substitutions()["_CONCURRENCY"])
    assert settings.preload == (("text", "image") if "_SETTINGS" in changes else ())
    assert settings.weights_uri == (
        "gs://acme-weights/ViT-L-14-openai" if "_FETCH_WEIGHTS" in changes else ""
    )
    build = environment_of(deploy, "--set-build-env-vars=")
    assert ("PIP_EXTRA_INDEX_URL" in build) is (settings.engine == "torch")
    assert not [word for word in deploy if "unauthenticated" in word], (
        "that sets IAM once it is live"
    )


def test_a_bundle_is_exported_once_and_kept(recorded: Recorded, tmp_path: Path) -> None:
    changes = {"_WEIGHTS_URI": "gs://acme-weights", "_PINS": "image=" + "0" * 64}
    environment = recorded.environment | substitutions(**changes)
    bundle = tmp_path / "weights" / "clip"
    bundle.mkdir(parents=True)
    for step in ("export", "keep the bundle"):
        subprocess.run(["bash", "-c", SCRIPTS[step]], cwd=tmp_path, env=environment, check=True)
        (bundle / "manifest.json").touch()
    export, copy = recorded.calls
    assert export[:3] == ["make", "export", "MODEL=clip"]
    assert export[3] == f"ARGS=--precisions fp32,int8 --pins {changes['_PINS']}"
    assert copy == [
        "gcloud",
        "storage",
        "cp",
        "weights/clip/manifest.json",
        "gs://acme-weights/clip/",
    ]
    for step in ("look for the bundle", "export", "keep the bundle"):
        subprocess.run(["bash", "-c", SCRIPTS[step]], cwd=tmp_path, env=environment, check=True)
    assert len(recorded.calls) == 2, "a bundle that came with the source is served as it is"


@needs_gcloud
def test_weights_go_up_and_tests_do_not(tmp_path: Path, gcloud: Path) -> None:
    """Of a clone with a bundle, and of the package made of it."""
    clone = tmp_path / "clone"
    for name in (
        "common",
        "functions",
        "tests/e2e",
        "weights/clip",
        ".git",
        ".venv/bin",
        "build/function",
        "docs",
    ):
        (clone / name).mkdir(parents=True)
    places = """main.py requirements.txt requirements-serve.txt constraints.txt common/a.py
        functions/b.py weights/clip/manifest.json weights/clip/text.int8.onnx
        weights/clip/text.fp32.onnx.data weights/clip/text.fp32.onnx.weights""".split()
    left = """tests/smoke.py tests/e2e/server.py .git/config .venv/bin/x.py build/function/main.py
        common/a.pyc docs/a.md README.md .coverage""".split()
    for place in places + left:
        (clone / place).touch()
    shutil.copy(ROOT / ".gitignore", clone)
    shutil.copy(ROOT / ".gcloudignore", clone)
    assert uploaded(gcloud, clone) == set(places)
    shutil.copy(
        ROOT / ".gcloudbuildignore", clone / ".gcloudignore"
    )  # the command has no --ignore-file
    assert uploaded(gcloud, clone) - {".gitignore", ".gcloudignore"} == {
        *places,
        "tests/smoke.py",
        "tests/e2e/server.py",
        "docs/a.md",
        "README.md",
    }
    (clone / ".gcloudignore").unlink()
    files = plan(Choice(resolve("demo"))).files
    write(files, tmp_path / "function")
    assert uploaded(gcloud, tmp_path / "function") == set(files) - {".gcloudignore"}


def uploaded(gcloud: Path, folder: Path) -> set[str]:
    """What gcloud would upload."""
    command: list[str | Path] = [gcloud, "meta", "list-files-for-upload", folder]
    listed = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(listed.stdout.split())


def test_all_that_a_bare_deploy_uploads_compiles() -> None:
    """The platform compiles it: `main.py`, `common/` and `functions/` of the clone."""
    for path in (
        ROOT / "main.py",
        *(ROOT / "common").rglob("*.py"),
        *(ROOT / "functions").rglob("*.py"),
    ):
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)


def test_make_deploy_says_what_it_will_do_and_asks(recorded: Recorded) -> None:
    command = [
        shutil.which("make") or "make",
        "deploy",
        "PROJECT=acme",
        "REGION=us-central1",
        "MODEL=mclip",
    ]
    asked = subprocess.run(
        command, cwd=ROOT, env=recorded.environment, input="no\n", capture_output=True, text=True
    )
    assert "2 vCPU" in asked.stdout
    assert "nothing was done" in asked.stdout
    assert recorded.calls == []
    done = subprocess.run(
        [*command, "YES=1", "OPEN=1", "SET=_MIN_INSTANCES=1"],
        cwd=ROOT,
        env=recorded.environment | {"MISSING": "1"},
        capture_output=True,
        text=True,
    )
    names = [" ".join(call[1:4]) for call in recorded.calls]
    assert names.count("iam service-accounts create") == 2
    assert names[0].startswith("services enable")
    assert done.returncode, "the recorder says that there is no function"
    (build,) = [call for call in recorded.calls if call[1] == "builds"]
    pairs = dict(
        pair.split("=", 1) for pair in build[-1].removeprefix("--substitutions=^~^").split("~")
    )
    assert (pairs["_MODEL"], pairs["_MIN_INSTANCES"], pairs["_MEMORY"]) == (
        "mclip",
        "1",
        SIZES["mclip"].memory,
    )
    words = [word for call in recorded.calls for word in call]
    assert "--role=roles/run.developer" in words
    assert "--role=roles/run.admin" not in words, "who may call is the operator's to say"
    assert [call[2] for call in recorded.calls if "--member=allUsers" in call] == [
        "add-invoker-policy-binding"
    ]


def test_make_deploy_ends_with_a_curl_that_can_be_pasted() -> None:
    private, public = (
        submit.call_it("https://x.run.app", False),
        submit.call_it("https://x.run.app", True),
    )
    assert "gcloud auth print-identity-token" in private
    assert shlex.split(public) == [
        "curl",
        "https://x.run.app/embed/text",
        "-H",
        "Content-Type: application/json",
        "-d",
        '{"texts": ["a fox"]}',
    ]
