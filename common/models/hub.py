"""Why a file of the model hub could not be had, in words, and what an operator can do about it."""

import errno

ANSWER_TIMEOUT_S = (
    5  # for the hub's first answer: a request that waits for a model must fail in seconds
)
WAYS_ON = (
    "Three ways on: serve the demo (CLIP_MODEL=demo); serve a bundle, which `make export MODEL={model}` writes on a "
    "machine that reaches the hub; or put the model's files into CLIP_WEIGHTS_DIR"
)
REFUSALS = {
    401: "the hub wants a token (HF_TOKEN)",
    403: "the hub refuses this token (HF_TOKEN), or the repository is gated",
    404: "the hub has no such repository, revision or file",
    429: "the hub has had too many requests from here (429); try again later",
}


def ask(repo: str, name: str, revision: str) -> None:
    """One request for what is known of a file, without the library's own retries, which take a minute.

    Raises the library's errors for a refusal, requests' for a hub that cannot be reached.
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
    """Whether the file alone is missing, so that another name is worth a try; offline: not in the cache."""
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError):
        return error.__cause__ is None  # else the hub was asked, and could not be reached
    return isinstance(error, EntryNotFoundError)


def reason_of(error: Exception | None) -> str:
    """In words, without paths or addresses; by the first of the error and its causes that says something."""
    while error is not None:
        if reason := _reason(error):
            return reason
        error = error.__cause__ if isinstance(error.__cause__, Exception) else None
    return "it could not be downloaded"


def _reason(error: Exception) -> str:
    import requests
    from huggingface_hub.errors import OfflineModeIsEnabled

    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return REFUSALS.get(status, f"the hub answered {status}")
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, requests.exceptions.SSLError):
        return "the hub's certificate is not trusted here"
    if isinstance(error, requests.Timeout):
        return f"the hub did not answer within {ANSWER_TIMEOUT_S} s"
    if isinstance(error, requests.ConnectionError):
        return "the hub cannot be reached from here (no route, or its name is not known)"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full"
    return ""
