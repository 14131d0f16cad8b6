"""GET /openapi.json: the contract as OpenAPI 3.1, made of the routes, the models and the error tree."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from common.errors import EmbeddingError, ServiceError, Unauthorized
from common.schemas import File, HealthResponse
from common.version import SERVICE, VERSION
from functions.bodies import parse_json_or_files
from functions.envelopes import Envelope
from functions.examples import EXAMPLES
from functions.responses import JSON, UNHEALTHY, status_of_class
from functions.route import Route

Node = dict[str, Any]

DESCRIPTION = """Text and images in, L2-normalised CLIP vectors out. A dot product of two vectors is their cosine.

The examples are those of the demo model, which knows emoji and nothing else."""
TAGS = {
    "Embedding": "The function's own routes.",
    "OpenAI": "The embeddings API of OpenAI's clients, with images.",
    "Weaviate": "The inference protocol of `multi2vec-clip`.",
    "BigQuery": "A remote function.",
    "Operation": "What runs here, and how it is.",
}
SECURITY: Node = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "One of `CLIP_API_KEYS`, where those are set."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same, for those who prefer it."},
}
HEADERS: Node = {
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."},
    "X-Request-Id": {"schema": {"type": "string"}, "description": "The caller's own, or one that was made."},
    "Server-Timing": {"schema": {"type": "string"}, "description": "Milliseconds by stage."},
}
REF = "#/components/schemas/{model}"
ALWAYS: Node = {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", "Server-Timing")}
RETRY_AFTER: Node = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}


@cache
def document(routes: tuple[Route, ...]) -> Node:
    """The OpenAPI document of `routes`."""
    schemas, components = _schemas(routes)
    paths: Node = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": SERVICE, "version": VERSION, "description": DESCRIPTION, "license": {"name": "MIT"}},
        "servers": [{"url": "./"}],
        "tags": [{"name": name, "description": says} for name, says in TAGS.items()],
        "paths": paths,
        "components": {"schemas": components, "headers": HEADERS, "securitySchemes": SECURITY},
    }


def _schemas(routes: Sequence[Route]) -> tuple[dict[type, Node], Node]:
    """A reference for each type that routes read or write, and what they refer to."""
    read = {route.request for route in routes if route.request}
    written = {route.response for route in routes if route.response not in (None, File, dict)}
    written |= {route.envelope.body for route in routes}
    every = [(kind, "validation") for kind in read] + [(kind, "serialization") for kind in written]
    inputs: Any = [(kind, mode, TypeAdapter(kind)) for kind, mode in sorted(every, key=lambda one: one[0].__name__)]
    references, definitions = TypeAdapter.json_schemas(inputs, ref_template=REF)
    return {kind: schema for (kind, _), schema in references.items()}, definitions["$defs"]


def _operation(route: Route, schemas: dict[type, Node]) -> Node:
    also = f"Also answers at {', '.join(f'`{alias}`' for alias in route.aliases)}." if route.aliases else ""
    operation: Node = {
        "operationId": _operation_id(route),
        "tags": [route.tag],
        "summary": _first_line(route.handler).split(" Raises ")[0],
        "description": also,
        "security": [] if route.is_open else [{}, *({name: []} for name in SECURITY)],
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", route.path)
        ],
        "responses": dict(sorted(_responses(route, schemas))),
    }
    if route.request:
        operation["requestBody"] = {"required": True, "content": dict(_bodies(route, schemas[route.request]))}
    return {name: value for name, value in operation.items() if value or name == "security"}


def _first_line(documented: object) -> str:
    return (documented.__doc__ or "").partition("\n")[0]


def _operation_id(route: Route) -> str:
    """`POST /embed/text` as `post_embed_text`."""
    return re.sub(r"\W+", "_", route.name).strip("_").lower()


def _bodies(route: Route, schema: Node) -> Iterator[tuple[str, Node]]:
    examples = {name: {"value": example.request} for name, example in EXAMPLES.get(route.path, {}).items()}
    yield JSON, {"schema": schema, **({"examples": examples} if examples else {})}
    if route.parse is parse_json_or_files:
        file = {"type": "array", "items": {"type": "string", "contentMediaType": "application/octet-stream"}}
        others = {name: {"type": "string"} for name in route.request.model_fields if name != "urls"}  # type: ignore[union-attr]
        form = {"type": "object", "properties": {"files": file, **others}, "required": ["files"]}
        yield "multipart/form-data", {"schema": form}


def _responses(route: Route, schemas: dict[type, Node]) -> Iterator[tuple[str, Node]]:
    schema = schemas.get(route.response) if route.response else None
    if route.response is None:
        yield "204", {"description": "Yes.", "headers": ALWAYS}
    else:
        content = {kind: _content(kind, route, schema) for kind in route.media_types}
        yield "200", {"description": "As asked.", "headers": ALWAYS, "content": content}
    if route.response is HealthResponse:
        unhealthy = {"description": "Not yet, or not healthy.", "content": {JSON: {"schema": schema}}}
        yield str(UNHEALTHY), unhealthy | {"headers": ALWAYS}
    raised = [*route.raises, *([] if route.is_open else [Unauthorized]), EmbeddingError]
    for status in sorted({status_of_class(kind) for kind in raised}):
        kinds = [kind for kind in raised if status_of_class(kind) == status]
        yield str(status), _error(kinds, route.envelope, schemas)


def _content(media_type: str, route: Route, schema: Node | None) -> Node:
    if media_type != JSON:
        return {}
    examples = EXAMPLES.get(route.path, {}).items()
    answers = {name: {"value": example.response} for name, example in examples if example.response}
    return {"schema": schema or {"type": "object"}, **({"examples": answers} if answers else {})}


def _error(kinds: Iterable[type[EmbeddingError]], envelope: Envelope, schemas: dict[type, Node]) -> Node:
    kinds = list(kinds)
    says = " ".join(f"`{kind.code}`: {_first_line(kind)}" for kind in kinds)
    headers = ALWAYS | (RETRY_AFTER if any(issubclass(kind, ServiceError) for kind in kinds) else {})
    content = {envelope.content_type: {"schema": schemas[envelope.body]}}
    return {"description": says, "headers": headers, "content": content}
