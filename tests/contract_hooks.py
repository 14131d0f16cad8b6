"""Fills in what no schema can tell, in the requests that schemathesis generates as valid.

These depend on the served model: its name, its dimensions, its fingerprint and its context length.
The JSON inside a form's `entries` has a schema of its own.
"""

import json
from typing import Any

import schemathesis

FORM = "multipart/form-data"
SERVED: dict[str, Any] = {
    "model": "demo",
    "dimensions": 256,
    "output_dimension": 256,
}
# Whether a text that is too long is cut, and the values that cut it: some protocols have booleans.
CUTTING: dict[type, Any] = {str: "END", bool: True}
NAMED = {"id": "demo", "name": "show.js"}  # in paths: a model, and a file of the documentation
TEXT_ENTRIES = json.dumps({"clip": {"textual": {"modelName": "demo"}}})


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: Any) -> None:
    """Change a valid request before it is sent. Invalid ones stay invalid."""
    if case.meta is None:
        return
    if case.meta.generation.mode.is_positive:
        _serve(case)
    elif case.media_type == FORM and isinstance(case.body, dict) and "urls" in case.body:
        # A form has strings only: a number in place of a list of URLs would be sent as one URL.
        case.body["urls"] = [""]


def _serve(case: schemathesis.Case[Any]) -> None:
    """Ask for what is served."""
    case.headers.pop("X-Expect-Fingerprint", None)
    case.path_parameters.update(
        {name: value for name, value in NAMED.items() if name in case.path_parameters}
    )
    if not isinstance(case.body, dict):
        return
    given = {name: value for name, value in SERVED.items() if case.body.get(name) is not None}
    case.body.update(given)
    for name in ("truncate", "truncation"):
        if (asked := case.body.get(name)) is not None:
            case.body[name] = CUTTING[type(asked)]
    messages: Any = case.body.get("messages") or ()
    for place, said in enumerate(messages):
        said["role"] = "system" if place else "user"  # the generator ignores maxContains
    if "entries" in case.body:
        case.body = {"entries": TEXT_ENTRIES, "text": "a fox"}
