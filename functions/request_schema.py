"""How the JSON schema of a request says what the request models' rules accept and refuse.

Generators of clients read it: a field with a `default` would become required in their types.
"""

from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]
NULL: Schema = {"type": "null"}


def describe_optional_fields(schema: Schema) -> None:
    """Say of each optional field that null is as good as absent, and tell its default in words."""
    required = schema.get("required", [])
    properties = schema.get("properties", {})
    for name, own in properties.items():
        if name not in required:
            properties[name] = _optional(own)


def _optional(schema: Schema) -> Schema:
    default = schema.pop("default", None)
    words = [schema.pop("description", "")]
    if default is not None and not isinstance(default, dict | list):
        words.append(f"Default: `{default}`.")
    description = " ".join(filter(None, words))
    title = {"title": schema.pop("title")} if "title" in schema else {}
    kinds = schema.get("anyOf", [schema])
    if NULL not in kinds:
        kinds = [*kinds, NULL]
    return {**title, "anyOf": kinds, **({"description": description} if description else {})}


def refusing(*refused: Schema) -> Callable[[Schema], None]:
    """For `json_schema_extra`: what matches one of `refused` is no valid request.

    It is written as `not`, which validators obey and generators of types pass over.
    """

    def extend(schema: Schema) -> None:
        describe_optional_fields(schema)
        schema["not"] = refused[0] if len(refused) == 1 else {"anyOf": list(refused)}

    return extend


def all_empty(*names: str) -> Schema:
    """An object in which each of these lists is absent, null or empty."""
    return {"properties": {name: {"maxItems": 0} for name in names}}


def all_null(*names: str) -> Schema:
    """An object in which each of these fields is absent or null."""
    return {"properties": {name: NULL for name in names}}


FLOAT16_AS_NUMBERS: Schema = {
    "properties": {
        "output_dtype": {"const": "float16"},
        "encoding_format": {"enum": ["float", None]},
    },
    "required": ["output_dtype"],
}
