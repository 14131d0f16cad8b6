"""The OpenAPI document is valid, complete, and as reviewed.

`python -m tests.test_openapi` writes the snapshot, so that its changes can be reviewed.
"""

import json
import re
from contextlib import suppress
from pathlib import Path

from openapi_spec_validator import validate
from pydantic import TypeAdapter, ValidationError

from functions.request_schema import BLANK, NOT_BLANK
from functions.schemas import Url
from tests.contract import contract
from tests.spoken import ROUTES

REVIEWED = Path(__file__).with_name("openapi.json")


def test_it_is_valid_openapi() -> None:
    validate(contract())


def test_it_is_the_one_that_was_reviewed() -> None:
    assert contract() == json.loads(REVIEWED.read_text("utf-8")), (
        "look at the difference, then run the module"
    )


def test_it_has_every_route_and_an_identity_for_each() -> None:
    operations = [
        (f"{method.upper()} {path}", operation["operationId"], operation["summary"])
        for path, methods in contract()["paths"].items()
        for method, operation in methods.items()
    ]
    assert [name for name, _, _ in operations] == [route.name for route in ROUTES]
    assert len({identity for _, identity, _ in operations}) == len(ROUTES)
    assert {route.tag for route in ROUTES} == {tag["name"] for tag in contract()["tags"]}
    assert all(summary.endswith((".", ":")) for _, _, summary in operations)


def test_its_blank_is_what_the_function_strips() -> None:
    """A URL of white space alone is refused, by the schema as by the function."""
    url = TypeAdapter(Url)
    for code in range(0x3100):
        with suppress(ValidationError):
            url.validate_python(chr(code))
            assert re.search(NOT_BLANK, chr(code)), hex(code)
            continue
        assert re.search(BLANK, chr(code)), hex(code)


def test_every_route_that_needs_a_key_says_that_it_can_be_refused() -> None:
    paths = contract()["paths"]
    for route in ROUTES:
        operation = paths[route.path][route.method.lower()]
        assert ("401" in operation["responses"]) is not route.is_open
        assert bool(operation["security"]) is not route.is_open


if __name__ == "__main__":
    REVIEWED.write_text(json.dumps(contract(), indent=1, ensure_ascii=False) + "\n", "utf-8")
