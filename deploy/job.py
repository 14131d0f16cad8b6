"""Deploy a Cloud Run job that embeds a corpus; `make deploy-job` runs it.

    python -m deploy.job --project P --region R --model M --input gs://… --output gs://…

It writes build/job: the folder of `make package`, with `bulk/`, its requirements and a Dockerfile.
Then it creates the job's service account if it is missing, lets it read the input and write the
output, and deploys the folder. It prints its commands and asks first; with --dry-run it only prints
them. Options that it does not know go to `python -m bulk embed`.
"""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import EmbeddingError
from common.models.catalog import resolve
from deploy.package import NEVER, ROOT, Choice, Files, Package, PackageError, plan, report, write
from deploy.submit import SERVICE_NAME, Command, enable_apis, run

NAME = "clip-bulk"
FOLDER = Path("build/job")
BULK_CODE = ("bulk/*.py", "bulk/inputs/*.py", "bulk/outputs/*.py")
APIS = ("artifactregistry", "cloudbuild", "iam", "run", "storage")
REMOTE = "gs://"
NOT_IN_A_LABEL = re.compile(r"[^a-z0-9_-]")
LONGEST_LABEL = 63
# The entry point does not change from job to job, so one image serves them all. Python's output is
# not buffered, because a task that is killed must not take its last lines with it.
DOCKERFILE = """FROM python:3.12-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /job
COPY requirements*.txt constraints.txt ./
RUN pip install --no-cache-dir --no-compile -r requirements.txt
COPY . .
USER nobody
ENTRYPOINT ["python", "-m", "bulk", "embed"]
"""


@dataclass(frozen=True)
class Size:
    """The resources of a task. More cores speed up a task, more tasks speed up the job."""

    memory: str
    cpu: int


SIZES = {
    "demo": Size("1Gi", 1),
    "demo-mclip": Size("1Gi", 1),
    "clip": Size("4Gi", 4),
    "mclip": Size("8Gi", 4),
}
OTHER = Size("8Gi", 4)  # for NAME/PRETRAINED: a guess


@dataclass(frozen=True)
class BulkJob:
    """A job: where it runs, what it embeds, and how often a task may fail.

    `parallelism` is how many tasks may run at a time; 0 means all. `embed` holds more options of
    `python -m bulk embed`.
    """

    project: str
    region: str
    input: str
    output: str
    model: str
    name: str = NAME
    tasks: int = 10
    parallelism: int = 0
    max_retries: int = 5
    task_timeout: str = "24h"
    memory: str = ""
    cpu: int = 0
    service_account: str = ""
    weights_uri: str = ""
    embed: tuple[str, ...] = ()

    @property
    def account(self) -> str:
        """The account that the tasks run as: the operator's choice, else the job's own."""
        return self.service_account or f"{self.name}@{self.project}.iam.gserviceaccount.com"

    @property
    def size(self) -> Size:
        """The operator's choice, else what the model needs."""
        usual = SIZES.get(self.model, OTHER)
        return Size(self.memory or usual.memory, self.cpu or usual.cpu)

    @property
    def words(self) -> list[str]:
        """The words after `python -m bulk embed`."""
        return [self.input, self.output, "--model", self.model, *self.embed]


def plan_job(choice: Choice, root: Path = ROOT) -> Package:
    """The function's package with bulk and a Dockerfile. Raises PackageError, ModelUnavailable."""
    package = plan(choice, root, ("requirements-bulk.txt",))
    code: Files = {"Dockerfile": DOCKERFILE.encode()}
    for pattern in BULK_CODE:
        for path in sorted(root.glob(pattern)):
            if not any(path.match(never) for never in NEVER):
                code[path.relative_to(root).as_posix()] = path
    return Package(package.code | code, package.weights, package.requirements, package.notes)


def create_account(job: BulkJob) -> tuple[Command, Command] | None:
    """A command that fails if the job's account is missing, and one that creates it.

    None if the operator named an account of another project.
    """
    if not job.account.endswith(f"@{job.project}.iam.gserviceaccount.com"):
        return None
    accounts, project = ["gcloud", "iam", "service-accounts"], f"--project={job.project}"
    return (
        [*accounts, "describe", job.account, project, "--format=value(email)"],
        [*accounts, "create", job.account.partition("@")[0], project],
    )


def grant_roles(job: BulkJob) -> list[Command]:
    """Commands that let the account read the buckets it reads, and write the output's."""
    output = _bucket(job.output)
    readers = dict.fromkeys(map(_bucket, (job.input, job.weights_uri)))
    roles = {bucket: "objectViewer" for bucket in readers if bucket} | {output: "objectUser"}
    member = f"--member=serviceAccount:{job.account}"
    bind = ["gcloud", "storage", "buckets", "add-iam-policy-binding"]
    return [
        [*bind, bucket, member, f"--role=roles/storage.{role}", f"--project={job.project}"]
        for bucket, role in roles.items()
    ]


def _bucket(uri: str) -> str:
    """The bucket of a gs:// location; empty for anything else."""
    name = uri.removeprefix(REMOTE).partition("/")[0]
    return f"{REMOTE}{name}" if uri.startswith(REMOTE) else ""


def deploy_job(job: BulkJob) -> Command:
    """The command that builds build/job and creates or updates the job."""
    settings = ["HF_HUB_OFFLINE=1"]  # the folder has all that the model needs
    settings += [f"CLIP_WEIGHTS_URI={job.weights_uri}"] if job.weights_uri else []
    label = NOT_IN_A_LABEL.sub("-", job.model.lower())[:LONGEST_LABEL]
    return [
        "gcloud",
        "run",
        "jobs",
        "deploy",
        job.name,
        f"--project={job.project}",
        f"--region={job.region}",
        f"--source={FOLDER}",
        f"--args=^|^{'|'.join(job.words)}",
        f"--tasks={job.tasks}",
        f"--parallelism={job.parallelism}",
        f"--max-retries={job.max_retries}",
        f"--task-timeout={job.task_timeout}",
        f"--memory={job.size.memory}",
        f"--cpu={job.size.cpu}",
        f"--service-account={job.account}",
        f"--labels=app={NAME},model={label}",
        f"--set-env-vars=^|^{'|'.join(settings)}",
        "--quiet",
    ]


def execute_job(job: BulkJob) -> Command:
    """The command that runs the job. The same command again continues where the tasks stopped."""
    place = [f"--project={job.project}", f"--region={job.region}"]
    return ["gcloud", "run", "jobs", "execute", job.name, *place, "--wait"]


def explain(job: BulkJob) -> str:
    """The job in words, and as commands."""
    account = create_account(job)
    commands = [
        enable_apis(APIS, job.project),
        *([account[1]] if account else []),
        *grant_roles(job),
        deploy_job(job),
    ]
    return "\n".join(
        [
            f"Deploy the job {job.name} in {job.region} of project {job.project}",
            f"  embeds {job.input} into {job.output} with model {job.model}",
            f"  {job.tasks} tasks of {job.size.cpu} vCPU and {job.size.memory},"
            f" each retried {job.max_retries} times",
            f"  runs as {job.account}",
            "with these commands (the account is created if it is missing):",
            *(f"  {shlex.join(command)}" for command in commands),
            "and run it with:",
            f"  {shlex.join(execute_job(job))}",
        ]
    )


def deploy(job: BulkJob) -> None:
    """Package and deploy. Raises CalledProcessError, PackageError, EmbeddingError."""
    choice = Choice(resolve(job.model), uri=job.weights_uri)
    package = plan_job(choice)
    report(choice, package, FOLDER, write(package.files, ROOT / FOLDER))
    run(enable_apis(APIS, job.project))
    account = create_account(job)
    if account and subprocess.run(account[0], capture_output=True).returncode:
        run(account[1])
    for command in [*grant_roles(job), deploy_job(job)]:
        run(command)


def parse(arguments: Sequence[str]) -> tuple[BulkJob, argparse.Namespace]:
    """The job, and the other options."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.job", description=__doc__, allow_abbrev=False
    )
    add = parser.add_argument
    for name in ("project", "region", "input", "output", "model"):
        add(f"--{name}", required=True)
    add("--name", default=NAME)
    add("--tasks", type=int, default=BulkJob.tasks, help="each embeds its share of the shards")
    add("--parallelism", type=int, default=0, help="tasks at a time; 0 means all")
    add("--max-retries", type=int, default=BulkJob.max_retries, help="of each task")
    add("--task-timeout", default=BulkJob.task_timeout)
    add("--memory", default="")
    add("--cpu", type=int, default=0)
    add("--service-account", default="")
    add("--weights-uri", default="", help="gs:// folder of a bundle; none is packaged then")
    add("--dry-run", action="store_true", help="print the commands and do nothing")
    add("--yes", action="store_true", help="do not ask")
    given, embed = parser.parse_known_args(arguments)
    for name in ("project", "region"):
        if not getattr(given, name):
            parser.error(f"{name.upper()}=… is required: it says where to deploy")
    for name in ("input", "output"):
        if not _bucket(getattr(given, name)):
            parser.error(f"{name.upper()} must be a gs:// location: tasks share no disk")
    if not SERVICE_NAME.fullmatch(given.name):
        parser.error(f"{given.name} is not a valid name: lower-case letters, digits, hyphens")
    if wrong := [word for word in embed if "|" in word]:
        parser.error(f"{wrong[0]} contains |, which separates the words of --args")
    options = {"dry_run", "yes"}
    values = {name: value for name, value in vars(given).items() if name not in options}
    return BulkJob(**values, embed=tuple(embed)), given


def main(arguments: Sequence[str]) -> int:
    """Ask and deploy. Returns the exit status: 0, or 1 if nothing was deployed."""
    job, given = parse(arguments)
    print(explain(job))
    if given.dry_run:
        return 0
    if not shutil.which("gcloud"):
        print("gcloud is not installed: https://cloud.google.com/sdk/docs/install", file=sys.stderr)
        return 1
    if not given.yes and input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        print("nothing was done")
        return 1
    try:
        deploy(job)
    except (EmbeddingError, PackageError) as error:
        print(f"not packaged: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"stopped, because this command failed: {shlex.join(error.cmd)}", file=sys.stderr)
        return 1
    print(f"\nrun it with:\n{shlex.join(execute_job(job))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
