"""Adds to the JSON schema of a request the rules that pydantic leaves out.

Client generators read the schema. They make a field with a `default` required, so defaults stand
in the descriptions.
"""

import json
from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]
NULL: Schema = {"type": "null"}
# Unicode's white space, which pydantic strips. Python's and JavaScript's `\s` differ from it.
_SPACE = r"\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
BLANK = rf"^[{_SPACE}]*$"
NOT_BLANK = f"[^{_SPACE}]"


def describe_optional_fields(schema: Schema) -> None:
    """Allow null for each optional field, and move its default into its description."""
    required = schema.get("required", [])
    properties = schema.get("properties", {})
    for name, own in properties.items():
        if name not in required:
            properties[name] = _optional(own)


def _optional(schema: Schema) -> Schema:
    default = schema.pop("default", None)
    words = [schema.pop("description", "")]
    if default is not None and not isinstance(default, dict | list):
        words.append(f"Default: `{_as_json(default)}`.")
    description = " ".join(filter(None, words))
    title = {"title": schema.pop("title")} if "title" in schema else {}
    kinds = schema.get("anyOf", [schema])
    if NULL not in kinds:
        kinds = [*kinds, NULL]
    return {**title, "anyOf": kinds, **({"description": description} if description else {})}


def _as_json(value: object) -> str:
    """As a caller writes it: `true`, not `True`; strings without quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def refusing(*refused: Schema) -> Callable[[Schema], None]:
    """A `json_schema_extra` that makes a request invalid if it matches one of `refused`."""

    def extend(schema: Schema) -> None:
        describe_optional_fields(schema)
        schema.update(never(*refused))

    return extend


def never(*refused: Schema) -> Schema:
    """Keywords that make a value invalid if it matches one of `refused`.

    Validators obey them and generators of types ignore them. A `not` would mean the same, but
    openapi-generator makes models of what is in it, and fails.
    """
    matched = refused[0] if len(refused) == 1 else {"anyOf": list(refused)}
    return {"if": matched, "then": {"not": {}}}  # `not` of anything, because linters refuse False


def all_empty(*names: str) -> Schema:
    """An object in which each of these lists is absent, null or empty."""
    return {"properties": {name: {"maxItems": 0} for name in names}}


def all_null(*names: str) -> Schema:
    """An object in which each of these fields is absent or null."""
    return {"properties": {name: NULL for name in names}}


def all_given(*names: str) -> Schema:
    """An object in which each of these fields is present and not null."""
    return {"properties": {name: {"not": NULL} for name in names}, "required": list(names)}


FLOAT16_AS_NUMBERS: Schema = {
    "properties": {
        "output_dtype": {"const": "float16"},
        "encoding_format": {"enum": ["float", None]},
    },
    "required": ["output_dtype"],
}
