"""The real gcloud, offline: its table of commands, and its parser without a network."""

import functools
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.loopback import Quiet, answering
from tests.paths import ROOT

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
    "LOGGING",
)
# gcloud's own table of every command and flag, which its completion in shells reads.
TABLE = "data/cli/gcloud_completions.py"
Commands = dict[str, Any]
Answer = tuple[int, Any]
PROGRAM = """#!{python} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as call:
    call.connect({place!r})
    words = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
    socket.send_fds(call, [words], [0, 1, 2])
    sys.exit(int(call.recv(9) or 1))
"""


def sdk() -> Path:
    """The folder of the installed Cloud SDK."""
    assert GCLOUD
    return Path(GCLOUD).resolve().parents[1]


@contextmanager
def forking_gcloud(folder: Path) -> Iterator[Path]:
    """A program that is called as gcloud is; see gcloud_forks.py."""
    place, program = folder / "calls", folder / "gcloud"
    program.write_text(PROGRAM.format(python=sys.executable, place=str(place)))
    program.chmod(0o755)
    own = sdk() / "platform/bundledpythonunix/bin/python3"
    python = own if own.exists() else Path(sys.executable)
    script = ROOT / "tests" / "gcloud_forks.py"
    server = subprocess.Popen([python, "-S", script, sdk(), place])
    try:
        while not place.exists():
            assert server.poll() is None, "gcloud does not start"
            time.sleep(0.05)
        yield program
    finally:
        server.terminate()
        server.wait()


@functools.cache
def all_commands() -> Commands:
    """The table: `commands` by name, and `flags` with their kinds, at each level."""
    found = runpy.run_path(str(sdk() / TABLE))
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
    """Google's APIs as a wall: every call is 403. `bodies` is what was sent, by path.

    A GET of a path that `absent` matches is 404, as of something that is to be created.
    """

    program: Path
    environment: dict[str, str]
    absent: re.Pattern[str] | None = None
    bodies: dict[str, bytes] = field(default_factory=dict)

    def run(self, command: Sequence[str], cwd: Path) -> "subprocess.CompletedProcess[str]":
        """Real gcloud; the parser's errors are exit status 2, everything later is 1."""
        return subprocess.run(
            [self.program, *command[1:]],
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )


@contextmanager
def google_apis(answer: Callable[[str, str, bytes], Answer]) -> Iterator[str]:
    """The address of a proxy that stands for every host, and answers (method, URL, body)."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        def handle_call(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content = answer(self.command, self.path, body)
            written = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(written)))
            self.end_headers()
            self.wfile.write(written)

        do_GET = do_POST = do_PUT = do_PATCH = handle_call  # noqa: N815 - the library's names

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with answering(server):
        yield f"http://127.0.0.1:{server.server_port}"


def behind(proxy: str, folder: Path) -> dict[str, str]:
    """The environment of a gcloud with an empty configuration, a token that is none, and `proxy`.

    A proxy, because some commands put the region before an API's host.
    """
    (folder / "token").write_text("none")
    outside = ("CLOUDSDK", "GOOGLE", "HTTP_", "HTTPS_", "NO_PROXY", "ALL_PROXY")
    own = {
        name: value for name, value in os.environ.items() if not name.upper().startswith(outside)
    }
    for name in APIS:
        own[f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name}"] = f"http://{name.lower()}.test/"
    return own | {
        "CLOUDSDK_PROXY_TYPE": "http",
        "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
        "CLOUDSDK_PROXY_PORT": proxy.rpartition(":")[2],
        "http_proxy": proxy,
        "https_proxy": proxy,
        "CLOUDSDK_CONFIG": str(folder / "configuration"),
        "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(folder / "token"),
    }


@contextmanager
def walled_cloud(folder: Path, program: Path) -> Iterator[Cloud]:
    """gcloud, whose every call is refused."""
    cloud = Cloud(program, {})

    def refuse(method: str, url: str, body: bytes) -> Answer:
        path = urlsplit(url).path
        cloud.bodies[path] = body
        is_absent = method == "GET" and cloud.absent and cloud.absent.fullmatch(path)
        code, status = (404, "NOT_FOUND") if is_absent else (403, "PERMISSION_DENIED")
        return code, {"error": {"code": code, "message": "a wall", "status": status}}

    with google_apis(refuse) as proxy:
        cloud.environment = behind(proxy, folder)
        yield cloud
