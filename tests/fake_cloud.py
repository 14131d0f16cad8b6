"""The Google APIs that a deployment uses, on loopback, for the real gcloud.

Functions, their Cloud Run services with revisions and traffic, and who may call. A proxy on this
machine stands for every host: what is not modelled is 404, and nothing leaves the machine.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.gcloud import Answer, behind, google_apis

FUNCTION = re.compile(r"/v2/(projects/[^/]+/locations/[^/]+)/functions(?:/([^/:]+))?")
SERVICE = re.compile(r"/apis/serving\.knative\.dev/v1/namespaces/[^/]+/services/([^/:]+)")
POLICY = re.compile(r"/v1/projects/[^/]+/locations/[^/]+/services/([^/:]+):([gs]etIamPolicy)")
FORBIDDEN: Answer = (
    403,
    {"error": {"code": 403, "message": "denied", "status": "PERMISSION_DENIED"}},
)
ABSENT: Answer = (
    404,
    {"error": {"code": 404, "message": "not found", "status": "NOT_FOUND"}},
)
TYPES = "type.googleapis.com/google.cloud.functions.v2"
DONE: Answer = (
    200,
    {
        "name": "projects/acme/locations/us-central1/operations/op",
        "done": True,
        "metadata": {"@type": f"{TYPES}.OperationMetadata", "stages": []},
        "response": {"@type": f"{TYPES}.Function"},
    },
)


@dataclass
class FakeService:
    """A Cloud Run service as the functions API keeps it."""

    name: str
    revisions: list[str] = field(default_factory=list)
    traffic: list[dict[str, Any]] = field(
        default_factory=lambda: [{"latestRevision": True, "percent": 100}]
    )
    changes: int = 0
    policy: dict[str, Any] = field(default_factory=lambda: {"etag": "BwX=", "version": 1})

    def deploy(self) -> None:
        """A new revision; traffic goes where its targets say."""
        self.revisions.append(f"{self.name}-{len(self.revisions) + 1:05}-rev")
        self.changes += 1

    def resolved(self) -> list[dict[str, Any]]:
        """Traffic with the name of each revision, and the URL of each tag."""
        entries = []
        for target in self.traffic:
            entry = {"revisionName": target.get("revisionName", self.revisions[-1])} | target
            if tag := target.get("tag"):
                entry["url"] = f"https://{tag}---{self.name}-x.a.run.app"
            entries.append(entry)
        return entries

    def shares(self) -> dict[str, int]:
        """Percent by revision."""
        entries = self.resolved()
        return {
            entry["revisionName"]: entry["percent"] for entry in entries if entry.get("percent")
        }

    def tags(self) -> dict[str, str]:
        """Revision by tag."""
        return {entry["tag"]: entry["revisionName"] for entry in self.resolved() if "tag" in entry}

    def as_json(self) -> dict[str, Any]:
        """In the shape of the Kubernetes-style API."""
        ready = [{"type": kind, "status": "True"} for kind in ("Ready", "RoutesReady")]
        return {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {
                "name": self.name,
                "namespace": "acme",
                "generation": self.changes,
                "annotations": {},
                "labels": {"cloud.googleapis.com/location": "us-central1"},
            },
            "spec": {
                "template": {"spec": {"containers": [{"image": "image"}]}},
                "traffic": self.traffic,
            },
            "status": {
                "observedGeneration": self.changes,
                "conditions": ready,
                "latestReadyRevisionName": self.revisions[-1],
                "latestCreatedRevisionName": self.revisions[-1],
                "traffic": self.resolved(),
                "url": f"https://{self.name}-x.a.run.app",
            },
        }


@dataclass
class FakeCloud:
    """What has been deployed, and what was asked for. `forbids` has paths' endings that are 403."""

    environment: dict[str, str] = field(default_factory=dict)
    services: dict[str, FakeService] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    forbids: tuple[str, ...] = ()
    logs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by revision

    def answer(self, method: str, url: str, body: bytes) -> Answer:
        """Status and JSON."""
        parts = urlsplit(url)
        host = parts.netloc.split(":")[0]
        self.calls.append(f"{method} {parts.path}")
        if parts.path.endswith(self.forbids or "\0"):
            return FORBIDDEN
        if match := POLICY.fullmatch(parts.path):
            return self._policy(self.services[match[1]], match[2], body)
        if match := SERVICE.fullmatch(parts.path):
            return self._service(match[1], body if method == "PUT" else b"")
        if match := FUNCTION.match(parts.path):
            return self._function(method, parts.path, match, parse_qs(parts.query))
        return self._other(host, parts.path, body)

    def _other(self, host: str, path: str, body: bytes) -> Answer:
        if path.endswith("/operations/op"):
            return DONE
        if path.endswith("/runtimes"):
            runtime = {"name": "python312", "environment": "GEN_2", "stage": "GA"}
            return 200, {"runtimes": [runtime]}
        if host.startswith("serviceusage"):
            return 200, {"state": "ENABLED", "name": path}
        if path.endswith("/entries:list"):
            asked = json.loads(body)["filter"]
            return 200, {"entries": next((e for r, e in self.logs.items() if r in asked), [])}
        if path == "/v1/projects/acme":
            return 200, {"projectId": "acme", "projectNumber": "1234", "lifecycleState": "ACTIVE"}
        return (200, {}) if path.startswith("/upload") else ABSENT

    def _policy(self, service: FakeService, verb: str, body: bytes) -> Answer:
        if verb == "setIamPolicy":
            service.policy = json.loads(body)["policy"]
        return 200, service.policy

    def _service(self, name: str, changed: bytes) -> Answer:
        if name not in self.services:
            return ABSENT
        service = self.services[name]
        if changed:
            service.traffic = json.loads(changed)["spec"]["traffic"]
            service.changes += 1
        return 200, service.as_json()

    def _function(
        self, method: str, path: str, match: "re.Match[str]", query: dict[str, list[str]]
    ) -> Answer:
        if path.endswith(":generateUploadUrl"):
            source = {"bucket": "sources", "object": "source.zip"}
            return 200, {"uploadUrl": "http://storage.test/upload", "storageSource": source}
        name = match[2] or query.get("functionId", [""])[0]
        if method in ("POST", "PATCH"):
            self.services.setdefault(name, FakeService(name)).deploy()
            return DONE
        if name not in self.services:
            return ABSENT
        service = self.services[name]
        config = {
            "service": f"{match[1]}/services/{name}",
            "uri": service.as_json()["status"]["url"],
            "allTrafficOnLatestRevision": service.revisions[-1] in service.shares(),
        }
        function = {"name": f"{match[1]}/functions/{name}", "environment": "GEN_2"}
        build = {"runtime": "python312", "entryPoint": "embed", "dockerRepository": ""}
        return 200, function | {"state": "ACTIVE", "serviceConfig": config, "buildConfig": build}


@contextmanager
def fake_cloud(folder: Path) -> Iterator[FakeCloud]:
    """The cloud, and the environment in which gcloud talks to it alone."""
    cloud = FakeCloud()
    with google_apis(cloud.answer) as proxy:
        cloud.environment = behind(proxy, folder)
        yield cloud
