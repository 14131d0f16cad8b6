"""Move a function's traffic from one revision to the next: `python -m deploy.rollout ACTION …`.

A gen2 function is a Cloud Run service of the same name, and traffic is the service's. `hold` pins
traffic to the revisions that serve now, so that the next deployment gets none. `candidate` gives
the newest revision a tag and thereby its own URL. `promote` moves traffic to it, and `rollback`
moves it back. The service's tags `current` and `previous` are the only state.

It needs only gcloud and the standard library, because Cloud Build runs it in gcloud's image.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.verdict import Requests, objection

CANDIDATE, CURRENT, PREVIOUS = "candidate", "current", "previous"
MISSING = "Cannot find service"  # gcloud's words; every other failure stops the rollout
LOG_LIMIT = 5000  # requests of a revision that are read from the log


class RolloutError(Exception):
    """The traffic cannot be moved as asked."""


@dataclass(frozen=True)
class Target:
    """The function whose traffic is moved."""

    project: str
    region: str
    name: str

    @property
    def place(self) -> list[str]:
        """The gcloud flags for the project and the region."""
        return [f"--project={self.project}", f"--region={self.region}"]


@dataclass(frozen=True)
class Service:
    """A service's revisions. `shares` is their traffic in percent, the largest first."""

    url: str
    newest: str
    shares: dict[str, int]
    tags: dict[str, str] = field(default_factory=dict)
    tag_urls: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, described: dict[str, Any]) -> "Service":
        """From `gcloud run services describe --format=json`."""
        status = described["status"]
        shares: dict[str, int] = {}
        traffic = status.get("traffic", [])
        for entry in traffic:
            if percent := entry.get("percent", 0):
                name = entry["revisionName"]
                shares[name] = shares.get(name, 0) + percent
        tagged = [entry for entry in traffic if entry.get("tag")]
        return cls(
            url=status["url"],
            newest=status["latestReadyRevisionName"],
            shares=dict(sorted(shares.items(), key=lambda share: -share[1])),
            tags={entry["tag"]: entry["revisionName"] for entry in tagged},
            tag_urls={entry["tag"]: entry["url"] for entry in tagged},
        )

    def serving_beside(self, revision: str) -> str:
        """The revision with most of the traffic, `revision` aside; empty if no other has any."""
        return next((name for name in self.shares if name != revision), "")


def describe(target: Target) -> Service | None:
    """The service; None before the first deployment. Raises CalledProcessError."""
    command = ["gcloud", "run", "services", "describe", target.name, *target.place]
    command.append("--format=json")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and MISSING in done.stderr:
        return None
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    done.check_returncode()
    return Service.from_json(json.loads(done.stdout))


def existing(target: Target) -> Service:
    """The service. Raises RolloutError if it does not exist."""
    if service := describe(target):
        return service
    raise RolloutError(f"{target.name} is not deployed in {target.region} of {target.project}")


def update_traffic(target: Target, *flags: str) -> None:
    """Change shares and tags in one step. Raises CalledProcessError."""
    command = ["gcloud", "run", "services", "update-traffic", target.name, *target.place]
    command += [*flags, "--format=none"]
    print(f"+ {shlex.join(command)}", flush=True)
    subprocess.run(command, check=True)


def shares_flag(shares: dict[str, int]) -> str:
    """The flag for `update-traffic`. Revisions that it does not name get no traffic."""
    pairs = (f"{name}={percent}" for name, percent in shares.items() if percent)
    return f"--to-revisions={','.join(pairs)}"


def hold(target: Target) -> None:
    """Pin the traffic to the revisions that have it now, and tag the one with most of it."""
    service = describe(target)
    if service is None:
        print(f"{target.name} is new: its first revision gets all traffic")
        return
    current = next(iter(service.shares))
    update_traffic(target, shares_flag(service.shares), f"--update-tags={CURRENT}={current}")


def tag_candidate(target: Target, folder: Path) -> None:
    """Tag the newest revision. Write its URL to `url` and a token's audience to `audience`.

    Both files go into `folder`. If the revision has traffic in spite of `hold`, the traffic goes
    back to the revision before.
    """
    service = existing(target)
    current = service.tags.get(CURRENT, service.newest)
    moved = current != service.newest and service.newest in service.shares
    back = [shares_flag({current: 100})] if moved else []
    update_traffic(target, *back, f"--update-tags={CANDIDATE}={service.newest}")
    service = existing(target)
    url = service.tag_urls[CANDIDATE]
    (folder / "url").write_text(url)
    (folder / "audience").write_text(service.url)
    print(f"{service.newest} waits at {url}; traffic: {service.shares}")


def read_requests(target: Target, revision: str, window_s: int) -> Requests:
    """A revision's requests, as the platform's own log has them."""
    query = (
        'resource.type="cloud_run_revision"'
        f' AND resource.labels.revision_name="{revision}"'
        ' AND log_id("run.googleapis.com/requests")'
    )
    command = ["gcloud", "logging", "read", query, f"--project={target.project}"]
    command += [f"--freshness={window_s}s", f"--limit={LOG_LIMIT}", "--format=json(httpRequest)"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Requests.from_log(json.loads(done.stdout))


def promote(
    target: Target,
    steps: Sequence[int],
    wait_s: int,
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Move traffic to the candidate in `steps` of percent, and compare revisions between them.

    Raises RolloutError if more of its requests fail, or take longer, than those of the revision
    before. That revision then has all traffic again, and the candidate keeps its tag.
    """
    service = existing(target)
    if CANDIDATE not in service.tags:
        raise RolloutError("no revision has the tag `candidate`: deploy first")
    new = service.tags[CANDIDATE]
    old = service.serving_beside(new)
    for percent in steps[:-1] if old else ():
        update_traffic(target, shares_flag({new: percent, old: 100 - percent}))
        wait(wait_s)
        seen, usual = (read_requests(target, name, wait_s) for name in (new, old))
        print(f"{percent} %: {new} {seen}; {old} {usual}")
        if wrong := objection(seen, usual):
            update_traffic(target, shares_flag({old: 100}))
            raise RolloutError(f"{new}: {wrong}; all traffic is back with {old}")
    tags = f"{CURRENT}={new}" + (f",{PREVIOUS}={old}" if old else "")
    ends = [f"--update-tags={tags}", f"--remove-tags={CANDIDATE}"]
    update_traffic(target, shares_flag({new: 100}), *ends)


def roll_back(target: Target) -> None:
    """Give all traffic to the revision before. A second call moves it forward again."""
    service = existing(target)
    if PREVIOUS not in service.tags:
        raise RolloutError(
            "no revision has the tag `previous`: there is no earlier revision to go back to"
        )
    previous = service.tags[PREVIOUS]
    current = service.serving_beside(previous) or service.tags.get(CURRENT, "")
    tags = f"{CURRENT}={previous}" + (f",{PREVIOUS}={current}" if current else "")
    update_traffic(target, shares_flag({previous: 100}), f"--update-tags={tags}")
    print(f"all traffic goes to {previous}; {current} waits as `previous`")


def percentages(text: str) -> list[int]:
    """`10,50,100` as numbers. Raises ValueError unless they grow and end with 100."""
    steps = [int(word) for word in text.split(",")]
    if steps != sorted(set(steps)) or steps[0] < 1 or steps[-1] != 100:
        raise ValueError(
            f"{text}: must be growing percentages that end with 100, such as 10,50,100"
        )
    return steps


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options. Exits with 2 if they are not valid."""
    parser = argparse.ArgumentParser(prog="python -m deploy.rollout", description=__doc__)
    parser.add_argument("action", choices=("hold", "candidate", "promote", "rollback"))
    for name in ("project", "region", "name"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--steps", type=percentages, default=[100], help="percent: 10,50,100")
    parser.add_argument("--wait-s", type=int, default=300, help="seconds between two steps")
    parser.add_argument("--folder", type=Path, default=Path("build"), help="for `candidate`")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run an action. Returns the exit status: 0, or 1 if the traffic is not as it should be."""
    parsed = parse(arguments)
    target = Target(parsed.project, parsed.region, parsed.name)
    actions: dict[str, Callable[[], None]] = {
        "hold": lambda: hold(target),
        "candidate": lambda: tag_candidate(target, parsed.folder),
        "promote": lambda: promote(target, parsed.steps, parsed.wait_s),
        "rollback": lambda: roll_back(target),
    }
    try:
        actions[parsed.action]()
    except RolloutError as error:
        print(f"{parsed.action}: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"{parsed.action}: this command failed: {shlex.join(error.cmd)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
