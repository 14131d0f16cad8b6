"""Explain why a file of the model hub is not available, and what an operator can do about it."""

import errno

# The limit for the hub's first answer. A request that waits for a model must fail within seconds.
ANSWER_TIMEOUT_S = 5
WAYS_ON = (
    "To continue, do one of these: serve the demo (CLIP_MODEL=demo); run `make export "
    "MODEL={model}` on a machine that reaches the hub, and serve that bundle; or put the model's "
    "files into CLIP_WEIGHTS_DIR"
)
UNKNOWN = "the download failed"
REFUSALS = {
    401: "the hub requires a token; set HF_TOKEN",
    403: "the hub refuses this token (HF_TOKEN), or the repository is gated",
    404: "the hub has no such repository, revision or file",
    429: "the hub had too many requests from this address (429); try again later",
}


def ask(repo: str, name: str, revision: str) -> None:
    """Ask the hub for a file's metadata once, without the library's own retries (about a minute).

    Raises the hub library's error if the hub refuses, or an error of `requests` if the hub is
    unreachable.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        build_hf_headers,
        get_session,
        hf_raise_for_status,
    )

    url = hf_hub_url(repo, name, revision=revision or None)
    hf_raise_for_status(
        get_session().head(url, headers=build_hf_headers(), timeout=ANSWER_TIMEOUT_S)
    )


def is_absent(error: Exception) -> bool:
    """Whether only this file is missing, so that another file name may exist.

    Offline, it means that the file is not in the cache.
    """
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError):
        return error.__cause__ is None  # with a cause, the library asked the hub and failed
    return isinstance(error, EntryNotFoundError)


def reason_of(error: Exception | None) -> str:
    """Explain an error in words, without paths or addresses.

    The first known error in the chain of the error and its causes decides.
    """
    while error is not None:
        if reason := _reason(error):
            return reason
        error = error.__cause__ if isinstance(error.__cause__, Exception) else None
    return UNKNOWN


def _reason(error: Exception) -> str:
    import requests
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return REFUSALS.get(status, f"the hub answered {status}")
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, requests.exceptions.SSLError):
        return "this machine does not trust the hub's certificate"
    if isinstance(error, requests.Timeout):
        return f"the hub did not answer within {ANSWER_TIMEOUT_S} s"
    if isinstance(error, requests.ConnectionError):
        return "this machine cannot reach the hub (no route, or its name does not resolve)"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full"
    return ""
