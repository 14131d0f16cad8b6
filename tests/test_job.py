"""What can be checked of `make deploy-job` offline: flags, values, the folder, and its entry."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from common.models.catalog import resolve
from deploy import job as jobs
from deploy.job import BulkJob, plan_job
from deploy.package import Choice, write
from deploy.submit import enable_apis
from tests.bucket import serving_bucket
from tests.bulk_runs import images_in
from tests.gcloud import GCLOUD, Cloud, needs_gcloud, unknown_flags, walled_cloud
from tests.paths import ROOT

WORDS = ("--max-failures", "1%", "--keep", "a,b")
JOB = BulkJob("acme", "us-central1", "gs://in/*.parquet", "gs://out/v", "clip", embed=WORDS)
GIVEN = "--project acme --region us-central1 --model clip --input gs://in/*.parquet".split()
GIVEN += ["--output", "gs://out/v"]


@pytest.fixture
def cloud(tmp_path: Path, gcloud: Path) -> Iterator[Cloud]:
    with walled_cloud(tmp_path, gcloud) as served:
        yield served


@needs_gcloud
@pytest.mark.parametrize("name", ["", "bulk@other.iam.gserviceaccount.com"])
def test_gcloud_knows_every_flag_of_a_job(name: str) -> None:
    job = replace(JOB, service_account=name, weights_uri="gs://weights/clip")
    account = jobs.create_account(job)
    assert bool(account) is not bool(name), "an account of another project is not ours to create"
    grants = jobs.grant_roles(job)
    enabled = enable_apis(jobs.APIS, job.project)
    commands = [
        enabled,
        *(account or ()),
        *grants,
        jobs.deploy_job(job),
    ]
    for command in [*commands, jobs.execute_job(job)]:
        assert not unknown_flags(command), shlex.join(command)
    assert [(command[4], command[6]) for command in grants] == [
        ("gs://in", "--role=roles/storage.objectViewer"),
        ("gs://weights", "--role=roles/storage.objectViewer"),
        ("gs://out", "--role=roles/storage.objectUser"),
    ]


@needs_gcloud
def test_gclouds_own_parser_refuses_a_wrong_value(cloud: Cloud, tmp_path: Path) -> None:
    command = jobs.deploy_job(JOB)
    for spoil in (("--tasks=10", "--tasks=many"), ("--task-timeout=24h", "--task-timeout=soon")):
        refused = cloud.run([word.replace(*spoil) for word in command], tmp_path)
        assert refused.returncode == 2, spoil
        assert "argument" in refused.stderr, spoil


@needs_gcloud
def test_gcloud_sends_what_the_job_says(cloud: Cloud, tmp_path: Path) -> None:
    cloud.absent = re.compile(r".*/jobs/clip-bulk")
    command = [word for word in jobs.deploy_job(JOB) if not word.startswith("--source")]
    cloud.run([*command, "--image=us-docker.pkg.dev/acme/jobs/bulk"], tmp_path)
    (sent,) = [json.loads(body) for path, body in cloud.bodies.items() if path.endswith("/jobs")]
    execution = sent["spec"]["template"]
    task = execution["spec"]["template"]["spec"]
    (container,) = task["containers"]
    assert container["args"] == JOB.words
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "4Gi"}
    assert {one["name"]: one["value"] for one in container["env"]} == {"HF_HUB_OFFLINE": "1"}
    assert (execution["spec"]["taskCount"], task["maxRetries"]) == (10, 5)
    assert int(task["timeoutSeconds"]) == 24 * 3600
    assert task["serviceAccountName"] == "clip-bulk@acme.iam.gserviceaccount.com"
    assert sent["metadata"]["labels"]["model"] == "clip"


def test_the_folder_is_a_job_that_runs_alone(tmp_path: Path) -> None:
    """The Dockerfile's entry, in the written folder, with a bucket as input and output."""
    files = plan_job(Choice(resolve("demo"))).files
    write(files, tmp_path / "job")
    assert b"pyarrow==" in (tmp_path / "job/requirements.txt").read_bytes()
    if GCLOUD:
        listed = [GCLOUD, "meta", "list-files-for-upload", str(tmp_path / "job")]
        uploaded = subprocess.run(listed, capture_output=True, text=True, check=True)
        assert set(uploaded.stdout.split()) == set(files) - {".gcloudignore"}
    dockerfile = (tmp_path / "job/Dockerfile").read_text()
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)
    python, *words = json.loads(entry)
    assert python == "python"
    environ = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
    with serving_bucket() as bucket:
        bucket.upload_folder(images_in(tmp_path / "in", 3), f"{bucket.folder}/in")
        job = replace(JOB, input=f"{bucket.uri}/in", output=f"{bucket.uri}/out", model="demo")
        done = subprocess.run(
            [sys.executable, *words, *replace(job, embed=()).words],
            cwd=tmp_path / "job",
            env=environ
            | {
                "PYTHONPATH": str(tmp_path / "job"),
                "STORAGE_EMULATOR_HOST": bucket.host,
                "CLOUD_RUN_TASK_INDEX": "0",
                "CLOUD_RUN_TASK_COUNT": "1",
            },
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 rows, 0 failed\n"


def test_make_deploy_job_prints_its_commands_and_does_nothing_when_dry() -> None:
    values = ["PROJECT=acme", "REGION=us-central1", "MODEL=clip", "INPUT=gs://in/*.parquet"]
    arguments = f"ARGS={shlex.join(['--tasks', '50', *WORDS])}"
    command = ["make", "-n", "deploy-job", *values, "OUTPUT=gs://out/v", "DRY=1", arguments]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (line,) = re.findall(r"-m (deploy\.job .*)$", shown.replace("\\\n", " "), re.MULTILINE)
    words = shlex.split(line)
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shlex.join(jobs.deploy_job(replace(JOB, tasks=50))) in done.stdout
    assert shlex.join(jobs.execute_job(JOB)) in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--region", ""], "REGION=… is required"),
        (["--input", "photos"], "INPUT must be a gs:// location"),
        (["--output", "/vectors"], "OUTPUT must be a gs:// location"),
        (["--name", "Not_Valid"], "not a valid name"),
        (["--keep", "a|b"], "contains |"),
    ],
)
def test_a_wrong_value_is_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        jobs.main([*GIVEN, *words, "--dry-run"])
    assert message in capsys.readouterr().err.splitlines()[-1]
