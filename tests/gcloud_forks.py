"""The real gcloud as a server that forks for each call: importing gcloud takes two seconds.

gcloud's own Python runs this file: `python -S gcloud_forks.py SDK SOCKET`. It uses the standard
library and gcloud's modules alone.
"""

import importlib
import json
import os
import signal
import socket
import sys
import traceback
from typing import Any

CALL_BYTES = 2**20
# What `gcloud run`, `functions` and `logging` import besides; a child would import it each time.
ALSO = (
    "googlecloudsdk.command_lib.run.serverless_operations",
    "googlecloudsdk.command_lib.functions.v2.deploy.command",
    "googlecloudsdk.core.credentials.store",
    "googlecloudsdk.core.credentials.transports",
)


def load(sdk: str) -> Any:
    """gcloud's main module, with its modules found as its own script finds them."""
    sys.path.insert(0, f"{sdk}/lib")
    script: Any = importlib.import_module("gcloud")
    sys.path = script.reorder_sys_path(sys.path)
    main = importlib.import_module("googlecloudsdk.gcloud_main")
    for name in ALSO:
        importlib.import_module(name)
    return main


def answer(call: socket.socket, main: Any) -> int:
    """Run one call with the caller's arguments, environment, folder and streams."""
    first, streams, _, _ = socket.recv_fds(call, CALL_BYTES, 3)
    arguments, environment, folder = json.loads(first)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["gcloud", *arguments]
    try:
        main.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:  # noqa: BLE001 - as Python itself ends
        traceback.print_exc()
        return 1
    return 0


def serve(sdk: str, place: str) -> None:
    """Answer calls until the process is ended."""
    main = load(sdk)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen(64)
        while True:
            call, _ = listener.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                status = answer(call, main)
                sys.stdout.flush()
                sys.stderr.flush()
                call.sendall(str(status).encode())
                os._exit(0)
            call.close()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
