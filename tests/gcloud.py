"""The real gcloud, offline: its help, and its parser without a network."""

import functools
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

GCLOUD = shutil.which("gcloud")
needs_gcloud = pytest.mark.skipif(
    GCLOUD is None, reason="gcloud is not installed: its help and parser are what is asked"
)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
FLAG = re.compile(r"--(?:\[no-\])?([a-z0-9][a-z0-9-]*)")
APIS = (
    "CLOUDBUILD",
    "CLOUDFUNCTIONS",
    "RUN",
    "STORAGE",
    "IAM",
    "SERVICEUSAGE",
    "CLOUDRESOURCEMANAGER",
    "CLOUDSCHEDULER",
)
COMMANDS = (
    "alpha monitoring policies create",
    "alpha services quota list",
    "artifacts repositories set-cleanup-policies",
    "auth login",
    "auth print-identity-token",
    "billing budgets create",
    "builds submit",
    "compute backend-services add-backend",
    "compute backend-services create",
    "compute forwarding-rules create",
    "compute network-endpoint-groups create",
    "compute networks subnets create",
    "compute routers create",
    "compute routers nats create",
    "compute ssl-certificates create",
    "compute target-https-proxies create",
    "compute url-maps create",
    "functions add-invoker-policy-binding",
    "functions delete",
    "functions deploy",
    "functions describe",
    "functions logs read",
    "functions remove-invoker-policy-binding",
    "iam service-accounts add-iam-policy-binding",
    "iam service-accounts create",
    "iam service-accounts describe",
    "logging metrics create",
    "logging read",
    "monitoring dashboards create",
    "org-policies describe",
    "projects add-iam-policy-binding",
    "run deploy",
    "run revisions list",
    "run services add-iam-policy-binding",
    "run services describe",
    "run services update",
    "run services update-traffic",
    "scheduler jobs create http",
    "secrets add-iam-policy-binding",
    "secrets create",
    "services enable",
    "storage buckets add-iam-policy-binding",
    "storage buckets create",
    "storage cp",
    "storage ls",
)


@functools.cache
def help_flags(command: str) -> frozenset[str]:
    """The flags that `gcloud COMMAND --help` lists."""
    assert GCLOUD
    shown = subprocess.run(
        [GCLOUD, *command.split(), "--help"], capture_output=True, text=True, check=True
    ).stdout
    text = ESCAPES.sub("", shown)
    names = set(FLAG.findall(text))
    return frozenset(names | {f"no-{name}" for name in re.findall(r"--\[no-\]([a-z0-9-]+)", text)})


def unknown_flags(command: Sequence[str]) -> list[str]:
    """The flags of a gcloud command line that its help does not list.

    Raises AssertionError for an unknown command.
    """
    line = " ".join(command[1:])
    known = [name for name in COMMANDS if line.startswith(name + " ") or line == name]
    assert known, f"no command that the tests know: {line}"
    flags = {word.partition("=")[0].removeprefix("--") for word in command if word.startswith("--")}
    return sorted(flags - help_flags(max(known, key=len)))


@dataclass
class Cloud:
    """Google's APIs as a wall: every call is 403. `bodies` is what was sent, by path."""

    environment: dict[str, str]
    bodies: dict[str, bytes] = field(default_factory=dict)

    def run(self, command: Sequence[str], cwd: Path) -> "subprocess.CompletedProcess[str]":
        """Real gcloud; the parser's errors are exit status 2, everything later is 1."""
        return subprocess.run(
            command, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=120
        )


@contextmanager
def walled_cloud(folder: Path) -> Iterator[Cloud]:
    """gcloud with an empty configuration, a token that is none, and every API on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            cloud.bodies[self.path.partition("?")[0]] = self.rfile.read(
                int(self.headers.get("Content-Length", 0))
            )
            body = b'{"error": {"code": 403, "message": "a wall", "status": "PERMISSION_DENIED"}}'
            self.send_response(403)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815 - the standard library's names

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    (folder / "token").write_text("none")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CLOUDSDK", "GOOGLE"))
        }
        own |= {
            f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}": f"http://127.0.0.1:{server.server_port}/"
            for name in APIS
        }
        cloud = Cloud(
            own
            | {
                "CLOUDSDK_CONFIG": str(folder / "configuration"),
                "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
                "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
                "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(folder / "token"),
            }
        )
        yield cloud
        server.shutdown()
