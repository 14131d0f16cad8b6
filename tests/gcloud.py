"""The real gcloud, offline: its table of commands, and its parser without a network."""

import functools
import os
import runpy
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
    GCLOUD is None, reason="gcloud is not installed: its commands and its parser are what is asked"
)
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
# gcloud's own table of every command and flag, which its completion in shells reads.
TABLE = "data/cli/gcloud_completions.py"
Commands = dict[str, Any]


@functools.cache
def all_commands() -> Commands:
    """The table: `commands` by name, and `flags` with their kinds, at each level."""
    assert GCLOUD
    found = runpy.run_path(str(Path(GCLOUD).resolve().parents[1] / TABLE))
    table: Commands = found["STATIC_COMPLETION_CLI_TREE"]
    return table


def unknown_flags(command: Sequence[str]) -> list[str]:
    """The flags of a gcloud command line that gcloud does not know for its command.

    Raises AssertionError for an unknown command.
    """
    level, flags = all_commands(), dict(all_commands()["flags"])
    words = iter(command[1:])
    while level.get("commands"):
        level = level["commands"].get(word := next(words), {})
        assert level, f"gcloud has no command {word!r} in {' '.join(command)}"
        flags |= level["flags"]
    known = {flag.removeprefix("--") for flag in flags}
    known |= {f"no-{flag.removeprefix('--')}" for flag, kind in flags.items() if kind == "bool"}
    given = {word.partition("=")[0].removeprefix("--") for word in command if word.startswith("--")}
    return sorted(given - known)


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
