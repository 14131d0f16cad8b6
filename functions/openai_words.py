"""The values and combinations of fields that POST /v1/embeddings accepts beside OpenAI's own."""

from typing import Annotated, Literal

from pydantic import WithJsonSchema

from functions.request_schema import FLOAT16_AS_NUMBERS, Schema

EmbeddingType = Literal["float", "base64", "binary", "ubinary"]
Task = Literal[  # Jina's tasks select an adapter of its models; CLIP has no adapters
    "retrieval.query",
    "retrieval.passage",
    "text-matching",
    "classification",
    "separation",
    "code.query",
    "code.passage",
]
InputType = Literal["query", "document", "passage"]  # Voyage's and NVIDIA's: prompts for a text

Truncate = Annotated[  # Jina's and NVIDIA's; generators refuse an enum of two types
    Literal[True, "END"],
    WithJsonSchema(
        {"anyOf": [{"type": "boolean", "const": True}, {"type": "string", "const": "END"}]}
    ),
]

_BLANK: Schema = {"type": "string", "pattern": r"^\s*$"}
BLANK_INPUT: Schema = {"anyOf": [_BLANK, {"type": "array", "items": {}, "contains": _BLANK}]}
REFUSED: tuple[Schema, ...] = (
    FLOAT16_AS_NUMBERS,
    {
        "properties": {"embedding_type": {"type": "string"}},
        "required": ["embedding_type"],
        "anyOf": [
            {"properties": {name: {"type": "string"}}, "required": [name]}
            for name in ("encoding_format", "output_dtype")
        ],
    },
    {
        "properties": {"modality": {"const": "image"}, "input": BLANK_INPUT},
        "required": ["modality", "input"],
    },
)
