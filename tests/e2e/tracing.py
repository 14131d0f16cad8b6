"""Records what a process and its children do on the network and on the disk.

Python's audit hook reports the names that are looked up, and strace sees native code too.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_HOOK = """
import os, sys
_log = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def _note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        os.write(_log, f"{event} {arguments[-4:]}\\n".encode())
sys.addaudithook(_note)
"""
_CALL = re.compile(r"^\d+ +(\w+)\((.*)$")
_WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT")
_PATH = re.compile(r'"([^"]*)"')
_NETWORK = ("connect", "sendto", "sendmsg", "sendmmsg")


@dataclass(frozen=True)
class Trace:
    """Where the records of a process lie, and empty folders that it has as HOME and TMPDIR."""

    folder: Path

    @property
    def home(self) -> Path:
        """Its HOME."""
        return self.folder / "home"

    @property
    def scratch(self) -> Path:
        """Its TMPDIR."""
        return self.folder / "tmp"

    @property
    def command(self) -> list[str]:
        """What the traced command is started with; it keeps the process id that it would have."""
        calls = ",".join(("openat", "open", "creat", "mkdir", "mkdirat", *_NETWORK))
        options = ["--seccomp-bpf", "-D", "-f", "-q"]  # it stops at these calls alone
        return ["strace", *options, "-e", f"trace={calls}", "-o", str(self._calls)]

    @property
    def _calls(self) -> Path:
        return self.folder / "strace.log"

    @property
    def _audit(self) -> Path:
        return self.folder / "audit.log"

    def environment(self) -> Mapping[str, str]:
        """What the traced process must have in its environment."""
        hooks = self.folder / "hooks"
        hooks.mkdir(parents=True)
        self.home.mkdir()
        self.scratch.mkdir()
        (hooks / "sitecustomize.py").write_text(_HOOK)
        paths = [str(hooks), os.environ.get("PYTHONPATH", "")]
        return {
            "AUDIT_LOG": str(self._audit),
            "HOME": str(self.home),
            "TMPDIR": str(self.scratch),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }

    def lookups(self) -> list[str]:
        """What Python code connected to or looked up."""
        return self._audit.read_text().splitlines()

    def sent(self) -> list[str]:
        """System calls that open a connection or send a datagram to an internet address.

        libc's question who the user is, to a local socket, is left out.
        """
        calls = [call[0] for call in self._matches() if call[1] in _NETWORK]
        return [call for call in calls if "sa_family=AF_INET" in call]

    def written(self) -> list[str]:
        """Files and folders outside of TMPDIR that were made, or opened for writing."""
        calls = [call for call in self._matches() if call[1] not in _NETWORK]
        made = [call for call in calls if call[1] != "openat" or _WRITING.search(call[2])]
        paths = [_PATH.search(call[2]) for call in made if "= -1" not in call[2]]
        return [path[1] for path in paths if path and not path[1].startswith(self._harmless)]

    def left(self) -> list[str]:
        """All that lies below HOME and TMPDIR, but for the empty cache folder that torch makes."""
        found = sorted(path for top in (self.home, self.scratch) for path in top.rglob("*"))
        return [str(path) for path in found if not path.name.startswith("torchinductor_")]

    @property
    def _harmless(self) -> tuple[str, ...]:
        return (str(self.scratch), str(self._audit), "/proc/self/", os.devnull)

    def _matches(self) -> list[re.Match[str]]:
        lines = self._calls.read_text(errors="replace").splitlines()
        assert len(lines) > 100, "strace saw next to nothing: may it trace here?"
        return [match for line in lines if (match := _CALL.match(line))]
