"""A loopback bucket: the storage emulator's handlers in threads, with a record of requests."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote
from uuid import uuid4

from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage

from common.cloud_storage import CloudStorage
from tests.loopback import Quiet, answering

BUCKET = "weights"


@dataclass
class Bucket:
    """A bucket on loopback. `host` is the value for STORAGE_EMULATOR_HOST.

    `ranges` holds the Range headers of each object's downloads. If `together` is set, each range
    waits until that many are requested at the same time, and so does each read of an object whose
    name begins with `slow`. `requests` counts the reads of objects and of what is known of them.
    """

    host: str
    folder: str = field(
        default_factory=lambda: uuid4().hex
    )  # of this bucket alone: manifests are read once
    ranges: dict[str, list[str]] = field(default_factory=dict)
    together: threading.Barrier | None = None
    requests: Counter[str] = field(default_factory=Counter)
    reader: CloudStorage = field(default_factory=CloudStorage)  # closed with the bucket

    @property
    def uri(self) -> str:
        """Of `folder`."""
        return f"gs://{BUCKET}/{self.folder}"

    def upload(self, objects: Mapping[str, bytes]) -> None:
        """Put objects there, through the real client."""
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        client = storage.Client(
            "test", AnonymousCredentials(), client_options={"api_endpoint": self.host}
        )
        with closing(client):
            for name, data in objects.items():
                client.bucket(BUCKET).blob(name).upload_from_string(data)

    def upload_folder(self, folder: Path, prefix: str) -> None:
        """Put the files of a folder there."""
        self.upload({f"{prefix}/{path.name}": path.read_bytes() for path in folder.iterdir()})


class _Storage(Storage):  # type: ignore[misc]
    """Without a file of what is known of all objects, which each upload would write again."""

    def _write_config_to_file(self) -> None:
        pass


@contextmanager
def serving_bucket() -> Iterator[Bucket]:
    """An empty bucket named BUCKET."""
    storage = _Storage(use_memory_fs=True)
    buckets.create_bucket(BUCKET, storage)
    served = Bucket("")

    class Handler(Quiet, RequestHandler):  # type: ignore[misc]
        def do_GET(self) -> None:  # noqa: N802 - the standard library's name
            name = unquote(self.path.partition("?")[0]).rpartition("/")[2]
            served.requests[name] += 1
            if asked := self.headers.get("Range"):
                served.ranges.setdefault(name, []).append(asked)
            if served.together and (asked or name.startswith("slow")):
                served.together.wait(30)
            super().do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, storage))
    served.host = f"http://127.0.0.1:{server.server_port}"
    with answering(server):
        yield served
        served.reader.close()
