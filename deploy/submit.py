"""Deploy from a clone; `make deploy` runs it.

    python -m deploy.submit --project P --region R --model M

It prints what it will do, and asks. Then it enables the APIs, creates the two service accounts if
they are missing, grants roles to the one that builds, and submits cloudbuild.yaml. At the end it
prints the function's URL. Running it again updates the function. It leaves the callers' permissions
as they are, except with --open: then, after the smoke test, the operator's account lets anybody
call.
"""

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = "clip-embeddings"
APIS = (
    "artifactregistry",
    "cloudbuild",
    "cloudfunctions",
    "iam",
    "iamcredentials",
    "logging",
    "run",
    "storage",
)
BUILD_ROLES = (  # on the project, for the account that builds
    "roles/cloudbuild.builds.builder",  # logs, images, the bucket with the source
    "roles/cloudfunctions.developer",
    "roles/run.developer",  # traffic and tags of revisions, but not who may call
    "roles/run.invoker",  # the smoke test calls the function
    "roles/logging.viewer",  # errors and latency between two steps of traffic
)
# A function with any other name gets a Cloud Run service of a different name.
SERVICE_NAME = re.compile(r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?")

Command = list[str]


@dataclass(frozen=True)
class Size:
    """The resources of an instance, from the figures in docs/deployment.md.

    `machine` is the Cloud Build machine that exports the bundle.
    """

    memory: str
    cpu: int
    concurrency: int
    machine: str = "e2-highcpu-8"


SIZES = {
    "demo": Size("512Mi", 1, 16),
    "demo-mclip": Size("512Mi", 1, 16),
    "clip": Size("2Gi", 2, 16),
    "mclip": Size("4Gi", 2, 8, machine="e2-highcpu-32"),  # quantizing its text tower takes 11.4 GB
}
# For ARCHITECTURE/PRETRAINED: a guess. Measure, then set the right values as substitutions.
OTHER = Size("4Gi", 4, 8, machine="e2-highcpu-32")


@dataclass(frozen=True)
class Deployment:
    """What to deploy and where.

    `substitutions` are the operator's. They replace those that follow from the other fields.
    """

    project: str
    region: str
    model: str
    name: str = NAME
    substitutions: dict[str, str] = field(default_factory=dict)
    is_open: bool = False

    @property
    def size(self) -> Size:
        """The resources that the model needs."""
        return SIZES.get(self.model, OTHER)

    def account(self, substitution: str, name: str) -> str:
        """A service account: the operator's choice, else one named after the function."""
        return (
            self.substitutions.get(substitution) or f"{name}@{self.project}.iam.gserviceaccount.com"
        )

    @property
    def accounts(self) -> tuple[str, str]:
        """The account that the function runs as, and the one that builds it."""
        return (
            self.account("_SERVICE_ACCOUNT", self.name),
            self.account("_BUILD_SERVICE_ACCOUNT", f"{self.name}-build"),
        )

    def all_substitutions(self) -> dict[str, str]:
        """The substitutions for cloudbuild.yaml."""
        runs, builds = self.accounts
        return {
            "_MODEL": self.model,
            "_NAME": self.name,
            "_REGION": self.region,
            "_MEMORY": self.size.memory,
            "_CPU": str(self.size.cpu),
            "_CONCURRENCY": str(self.size.concurrency),
            "_SERVICE_ACCOUNT": runs,
            "_BUILD_SERVICE_ACCOUNT": builds,
        } | self.substitutions


def create_accounts(deployment: Deployment) -> list[tuple[Command, Command]]:
    """For each account, a command that fails if it is missing, and one that creates it."""
    project = f"--project={deployment.project}"
    return [
        (
            [
                "gcloud",
                "iam",
                "service-accounts",
                "describe",
                account,
                project,
                "--format=value(email)",
            ],
            ["gcloud", "iam", "service-accounts", "create", account.partition("@")[0], project],
        )
        for account in deployment.accounts
        if account.endswith(f"@{deployment.project}.iam.gserviceaccount.com")
    ]


def grant_roles(deployment: Deployment) -> list[Command]:
    """Commands that grant the roles of the account that builds.

    It builds, deploys as both accounts, and gets a token for the smoke test.
    """
    project, (runs, builds) = f"--project={deployment.project}", deployment.accounts
    member = f"--member=serviceAccount:{builds}"
    on_project = ["gcloud", "projects", "add-iam-policy-binding", deployment.project]
    on_account = ["gcloud", "iam", "service-accounts", "add-iam-policy-binding"]
    return [
        *(
            [*on_project, member, f"--role={role}", "--condition=None", "--format=none"]
            for role in BUILD_ROLES
        ),
        *(
            [*on_account, account, project, member, f"--role={role}", "--format=none"]
            for account, role in (
                (runs, "roles/iam.serviceAccountUser"),
                (builds, "roles/iam.serviceAccountUser"),
                (builds, "roles/iam.serviceAccountOpenIdTokenCreator"),
            )
        ),
    ]


def enable_apis(apis: Sequence[str], project: str) -> Command:
    """The command that enables the APIs. It changes nothing if they are enabled."""
    names = [f"{name}.googleapis.com" for name in apis]
    return ["gcloud", "services", "enable", *names, f"--project={project}"]


def submit_build(deployment: Deployment) -> Command:
    """The command that submits the build, waits for it and shows its log."""
    pairs = "~".join(f"{name}={value}" for name, value in deployment.all_substitutions().items())
    return [
        "gcloud",
        "builds",
        "submit",
        ".",
        "--config=cloudbuild.yaml",
        "--ignore-file=.gcloudbuildignore",
        f"--project={deployment.project}",
        f"--region={deployment.region}",
        f"--machine-type={deployment.size.machine}",
        f"--substitutions=^~^{pairs}",
    ]


def describe_url(deployment: Deployment) -> Command:
    """The command that prints the function's URL."""
    place = [f"--project={deployment.project}", f"--region={deployment.region}"]
    return [
        "gcloud",
        "functions",
        "describe",
        deployment.name,
        *place,
        "--format=value(serviceConfig.uri)",
    ]


def open_to_all(deployment: Deployment) -> list[Command]:
    """The command that lets anybody call; none without --open. The operator may grant it."""
    place = [f"--project={deployment.project}", f"--region={deployment.region}"]
    bind = ["gcloud", "functions", "add-invoker-policy-binding", deployment.name, *place]
    return [[*bind, "--member=allUsers", "--format=none"]] if deployment.is_open else []


def explain(deployment: Deployment) -> str:
    """The deployment in words, and as commands."""
    values = deployment.all_substitutions()
    runs, builds = deployment.accounts
    listed = "the principals that IAM lists (roles/run.invoker)"
    callers = "ANYBODY" if deployment.is_open else listed
    commands = [
        enable_apis(APIS, deployment.project),
        *(create for _, create in create_accounts(deployment)),
        *grant_roles(deployment),
        submit_build(deployment),
        *open_to_all(deployment),
    ]
    return "\n".join(
        [
            f"Deploy model {deployment.model} as the function {deployment.name}",
            f"  in {deployment.region} of project {deployment.project}",
            f"  each instance {values['_CPU']} vCPU, {values['_MEMORY']},"
            f" {values['_CONCURRENCY']} requests at a time",
            f"  called by {callers}",
            f"  runs as {runs}, which gets no role; built by {builds}",
            "with these commands (accounts are created if they are missing):",
            *(f"  {shlex.join(command)}" for command in commands),
        ]
    )


def call_it(url: str, is_open: bool) -> str:
    """A ready-made `curl` for callers with permission."""
    token = "" if is_open else ' -H "Authorization: Bearer $(gcloud auth print-identity-token)"'
    content = """-H "Content-Type: application/json" -d '{"texts": ["a fox"]}'"""
    return f"curl {url}/embed/text{token} {content}"


def run(command: Command) -> None:
    """Print and run a command. Raises CalledProcessError."""
    print(f"+ {shlex.join(command)}", flush=True)
    subprocess.run(command, check=True, cwd=ROOT)


def deploy(deployment: Deployment) -> str:
    """Deploy, and return the function's URL. Raises CalledProcessError for a failed command."""
    run(enable_apis(APIS, deployment.project))
    for look, create in create_accounts(deployment):
        if subprocess.run(look, capture_output=True).returncode:
            run(create)
    build, opening = submit_build(deployment), open_to_all(deployment)
    for command in [*grant_roles(deployment), build, *opening]:
        run(command)
    described = subprocess.run(describe_url(deployment), check=True, capture_output=True, text=True)
    return described.stdout.strip()


def parse(arguments: Sequence[str]) -> tuple[Deployment, bool]:
    """What to deploy, and whether to do so without asking."""
    parser = argparse.ArgumentParser(prog="python -m deploy.submit", description=__doc__)
    for name in ("project", "region", "model"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--name", default=NAME)
    parser.add_argument("--open", action="store_true", help="let anybody call")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "substitutions", nargs="*", metavar="_NAME=VALUE", help="replace a value of cloudbuild.yaml"
    )
    parsed = parser.parse_args(arguments)
    if wrong := [
        text for text in parsed.substitutions if not text.startswith("_") or "=" not in text
    ]:
        parser.error(f"{wrong[0]} is not a substitution: write _NAME=VALUE")
    if not parsed.project or not parsed.region:
        parser.error("PROJECT=… and REGION=… are required: they say where to deploy")
    if not SERVICE_NAME.fullmatch(parsed.name):
        parser.error(
            f"{parsed.name} is not a valid name: lower-case letters, digits, hyphens, at most 49"
        )
    pairs = (text.partition("=") for text in parsed.substitutions)
    given = {name: value for name, _, value in pairs}
    where = (parsed.project, parsed.region, parsed.model, parsed.name)
    return Deployment(*where, given, parsed.open), parsed.yes


def main(arguments: Sequence[str]) -> int:
    """Ask and deploy. Returns the exit status: 0, or 1 if nothing was deployed."""
    deployment, yes = parse(arguments)
    print(explain(deployment))
    if not shutil.which("gcloud"):
        print("gcloud is not installed: https://cloud.google.com/sdk/docs/install", file=sys.stderr)
        return 1
    if not yes and input("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        print("nothing was done")
        return 1
    try:
        url = deploy(deployment)
    except subprocess.CalledProcessError as error:
        print(f"stopped, because this command failed: {shlex.join(error.cmd)}", file=sys.stderr)
        return 1
    print(f"\n{url}\n{call_it(url, deployment.is_open)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
