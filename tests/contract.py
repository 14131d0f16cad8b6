"""Checks answers against the OpenAPI document that the function serves."""

import json
from functools import cache
from typing import Any

import requests
from jsonschema import Draft202012Validator

from functions.openapi import document
from tests.spoken import PROTOCOLS


@cache
def contract() -> dict[str, Any]:
    """The document."""
    written: dict[str, Any] = json.loads(json.dumps(document(PROTOCOLS)))
    return written


@cache
def _validator(path: str, method: str, status: str, media_type: str) -> Draft202012Validator:
    schema = contract()["paths"][path][method]["responses"][status]["content"][media_type]["schema"]
    return Draft202012Validator(schema | {"components": contract()["components"]})


def check_contract(path: str, response: requests.Response) -> None:
    """Assert that the document has this status for the route, and that the body fits its schema."""
    method = "post" if response.request.method == "POST" else "get"
    documented = contract()["paths"][path][method]["responses"]
    status, media_type = (
        str(response.status_code),
        response.headers.get("Content-Type", "").partition(";")[0],
    )
    assert status in documented, f"{method} {path} answered {status}, which is not in the document"
    content = documented[status].get("content")
    if not content or response.request.method == "HEAD":
        assert not response.content
        return
    assert media_type in content or "*/*" in content, f"{media_type} is not in the document"
    if "schema" in content.get(media_type, {}):
        body = response.json() if media_type.endswith("json") else response.text
        _validator(path, method, status, media_type).validate(body)
