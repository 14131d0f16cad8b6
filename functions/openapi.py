"""GET /openapi.json: the contract as OpenAPI 3.1, generated from routes, models and errors."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from common.errors import EmbeddingError, ServiceError
from common.version import SERVICE, VERSION
from functions.envelopes import Envelope
from functions.errors import FingerprintMismatch, Unauthorized
from functions.examples import Example
from functions.responses import FINGERPRINT, JSON, OCTETS, status_of_class
from functions.route import Body, Protocol, Route, routes_of

Node = dict[str, Any]

DESCRIPTION = """Embeds texts and images as L2-normalised CLIP vectors.

The dot product of two vectors is their cosine similarity. The examples show answers of the demo
model, which knows only emoji."""
SECURITY: Node = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "One of `CLIP_API_KEYS`, if they are set.",
    },
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key in a header of its own.",
    },
}
HEADERS: Node = {
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds until the next try."},
    "X-Request-Id": {
        "schema": {"type": "string"},
        "description": "The request id of the caller, or a generated one.",
    },
    "X-Embedding-Count": {"schema": {"type": "integer"}, "description": "Rows in the body."},
    "X-Embedding-Dimensions": {
        "schema": {"type": "integer"},
        "description": "The dimensions of a vector, before packing.",
    },
    FINGERPRINT: {
        "schema": {"type": "string"},
        "description": "The model's fingerprint. Only compare vectors of the same one.",
    },
    "X-Embedding-Indices": {
        "schema": {"type": "string"},
        "description": "For each row the index of its input, comma-separated, if inputs may fail.",
    },
    "Server-Timing": {"schema": {"type": "string"}, "description": "Milliseconds for each stage."},
}
REF = "#/components/schemas/{model}"
ALWAYS: Node = {
    name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", "Server-Timing")
}
OF_RAW_ROWS: Node = {
    name: {"$ref": f"#/components/headers/{name}"}
    for name in ("X-Embedding-Count", "X-Embedding-Dimensions", "X-Embedding-Indices")
}
OF_VECTORS: Node = {FINGERPRINT: {"$ref": f"#/components/headers/{FINGERPRINT}"}}
EXPECTED: Node = {
    "name": "X-Expect-Fingerprint",
    "in": "header",
    "description": "The fingerprint of the caller's stored vectors. Another model answers 409.",
    "schema": {"type": "string"},
}
RETRY_AFTER: Node = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}


def document(protocols: Sequence[Protocol]) -> Node:
    """The OpenAPI document of `protocols`."""
    routes = routes_of(protocols)
    schemas, components = _schemas(routes)
    paths: Node = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": SERVICE,
            "version": VERSION,
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "."}],
        "tags": [{"name": own.tag, "description": own.description} for own in protocols],
        "paths": paths,
        "components": {"schemas": components, "headers": HEADERS, "securitySchemes": SECURITY},
    }


def _schemas(routes: Sequence[Route]) -> tuple[dict[Any, Node], Node]:
    """For each type that routes read or write a reference, and the schemas that these refer to."""
    read = {route.body.model for route in routes if route.body and route.body.takes_json}
    written = {route.answer.model for route in routes if route.answer.model}
    written |= {route.envelope.body for route in routes}
    every = [(kind, "validation") for kind in read] + [(kind, "serialization") for kind in written]
    inputs: Any = [(kind, mode, TypeAdapter(kind)) for kind, mode in sorted(every, key=str)]
    references, definitions = TypeAdapter.json_schemas(inputs, ref_template=REF)
    used = {kind: schema for (kind, _), schema in references.items()}
    return used, _reached(list(used.values()), definitions["$defs"])


def _reached(schemas: Iterable[Node], definitions: Node) -> Node:
    """The definitions that `schemas` refer to, directly or through others."""
    reached: set[str] = set()
    ahead = set(_references(list(schemas)))
    while ahead:
        reached |= ahead
        inner = [definitions[name] for name in ahead]
        ahead = set(_references(inner)) - reached
    return {name: schema for name, schema in definitions.items() if name in reached}


def _references(node: object) -> Iterator[str]:
    if isinstance(node, list):
        for part in node:
            yield from _references(part)
    elif isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        yield from _references(list(node.values()))


def _operation(route: Route, schemas: dict[Any, Node]) -> Node:
    also = (
        f"Also answers at {', '.join(f'`{alias}`' for alias in route.aliases)}."
        if route.aliases
        else ""
    )
    operation: Node = {
        "operationId": _operation_id(route),
        "tags": [route.tag],
        "summary": _first_line(route.handler).split(" Raises ")[0],
        "description": f"{_first_line(route.handler)} {also}".strip(),
        "security": [] if route.is_open else [{}, *({name: []} for name in SECURITY)],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", route.path)
        ]
        + ([EXPECTED] if FingerprintMismatch in route.raises else []),
        "responses": dict(sorted(_responses(route, schemas))),
    }
    if route.body:
        content = dict(_bodies(route, route.body, schemas.get(route.body.model, {})))
        operation["requestBody"] = {"required": True, "content": content}
    return {name: value for name, value in operation.items() if value or name == "security"}


def _first_line(documented: object) -> str:
    return (documented.__doc__ or "").partition("\n")[0]


def _operation_id(route: Route) -> str:
    """`POST /embed/text` as `post_embed_text`."""
    return re.sub(r"\W+", "_", route.name).strip("_").lower()


def _bodies(route: Route, body: Body, schema: Node) -> Iterator[tuple[str, Node]]:
    examples = {name: {"value": example.request} for name, example in route.examples.items()}
    if body.takes_json:
        yield JSON, {"schema": schema, **({"examples": examples} if examples else {})}
    for media_type, other in body.others.items():
        yield media_type, {"schema": other}


def _responses(route: Route, schemas: dict[Any, Node]) -> Iterator[tuple[str, Node]]:
    answer = route.answer
    for status, description in {answer.status: answer.description, **answer.also}.items():
        examples = route.examples if status == answer.status else {}
        content = {
            media_type: _content(media_type, schemas.get(answer.model), examples)
            for media_type in answer.media_types
        }
        headers = ALWAYS | (OF_RAW_ROWS if OCTETS in answer.media_types else {})
        if FingerprintMismatch in route.raises:
            headers = headers | OF_VECTORS
        response = {"description": description, "headers": headers}
        yield str(status), response | ({"content": content} if content else {})
    raised = [*route.raises, *([] if route.is_open else [Unauthorized]), EmbeddingError]
    for status in sorted({status_of_class(kind) for kind in raised}):
        kinds = [kind for kind in raised if status_of_class(kind) == status]
        yield str(status), _error(kinds, route.envelope, schemas)


def _content(media_type: str, schema: Node | None, examples: Mapping[str, Example]) -> Node:
    if media_type != JSON:
        is_text = media_type.startswith("text/")
        return {"schema": {"type": "string", **({} if is_text else {"format": "binary"})}}
    if schema is None:
        return {}
    answers = {
        name: {"value": example.response} for name, example in examples.items() if example.response
    }
    return {"schema": schema, **({"examples": answers} if answers else {})}


def _error(
    kinds: Iterable[type[EmbeddingError]], envelope: Envelope, schemas: dict[Any, Node]
) -> Node:
    kinds = list(kinds)
    says = " ".join(f"`{kind.code}`: {_first_line(kind)}" for kind in kinds)
    headers = ALWAYS | (
        RETRY_AFTER if any(issubclass(kind, ServiceError) for kind in kinds) else {}
    )
    content = {envelope.content_type: {"schema": schemas[envelope.body]}}
    return {"description": says, "headers": headers, "content": content}
