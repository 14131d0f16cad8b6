"""The requests of OpenAI's routes, with the fields of callers of vLLM, Jina, Voyage and NVIDIA."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from common.encoding import Rows, encode
from common.images.url_policy import as_url
from common.items import ImageUrl, Item, Text
from common.joint import Joint
from common.models.spec import Vectors
from functions.content import Input, Inputs, Kind, Message, Part, read_inputs
from functions.errors import FieldError, InvalidRequest
from functions.model_names import check_dimensions
from functions.request_schema import (
    BLANK,
    FLOAT16_AS_NUMBERS,
    NOT_BLANK,
    Schema,
    all_given,
    all_null,
    refusing,
)
from functions.schemas import MAX_TEXT_CHARS, EmbeddingRequest, WholeNumber

# Matches a data: URL of an image, but not a text that mentions one.
_IMAGE_DATA = re.compile(r"\s*data:image/[\w.+-]+(?:\s*;[^,]*,|,\S)", re.IGNORECASE)


def _as_single(value: object) -> object:
    """The only entry of a list: Jina's callers may list types. A vector has one of them here."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


_Type = Literal["float", "base64", "binary", "ubinary"]
_OneType = Annotated[list[_Type], Field(min_length=1, max_length=1)]
EmbeddingType = Annotated[
    _Type, BeforeValidator(_as_single, json_schema_input_type=_Type | _OneType)
]
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
OF_USER: Schema = {"properties": {"role": {"const": "user"}}}
Messages = Annotated[
    list[Message],
    Field(
        min_length=1,
        max_length=16,
        json_schema_extra={"contains": OF_USER, "minContains": 1, "maxContains": 1},
    ),
]

_BLANK: Schema = {"type": "string", "pattern": BLANK}
_BLANK_INPUT: Schema = {"anyOf": [_BLANK, {"type": "array", "items": {}, "contains": _BLANK}]}
_REFUSED: tuple[Schema, ...] = (
    FLOAT16_AS_NUMBERS,
    all_null("input", "messages"),
    all_given("input", "messages"),
    {
        "anyOf": [
            all_given("embedding_type", name) for name in ("encoding_format", "output_dtype")
        ],
    },
    {
        "properties": {"modality": {"const": "image"}, "input": _BLANK_INPUT},
        "required": ["modality", "input"],
    },
)


class EmbeddingsRequest(EmbeddingRequest):
    """Give `input`, or `messages` for one vector. `user` has no effect.

    With `modality` image, plain strings are images.
    `dimensions` must be the model's own, or 0, which infinity's client sends by default.
    `messages` is vLLM's field: one message of the user, whose parts get one vector together.
    `continue_final_message`, `add_generation_prompt` and `add_special_tokens` have no effect.
    `embedding_type` is Jina's field for the form of the vectors, `output_dimension` is Voyage's
    for `dimensions`. The fields that follow them here are those of Jina, Voyage, NVIDIA and vLLM;
    only values that ask for what this service does are valid.
    """

    model_config = ConfigDict(json_schema_extra=refusing(*_REFUSED))

    input: (
        Annotated[list[Input], PlainValidator(read_inputs, json_schema_input_type=Inputs)] | None
    ) = None
    messages: Messages | None = None
    continue_final_message: bool = False
    add_generation_prompt: bool = False
    add_special_tokens: bool = True
    model: str | None = None
    modality: Kind = "text"
    dimensions: WholeNumber | None = None
    user: str | None = None
    embedding_type: EmbeddingType | None = None
    output_dimension: WholeNumber | None = None
    task: Task | None = None
    normalized: Literal[True] = True
    normalize: Literal[True] = True
    late_chunking: Literal[False] = False
    return_multivector: Literal[False] = False
    truncate: Truncate = True
    truncation: Literal[True] = True
    input_type: InputType | None = None

    @model_validator(mode="after")
    def _one_way_to_write(self) -> "EmbeddingsRequest":
        given = self.model_fields_set & {"encoding_format", "output_dtype"}
        if self.embedding_type and given:
            raise ValueError(f"embedding_type and {min(given)} mean the same: give one of them")
        return self

    @model_validator(mode="after")
    def _one_source(self) -> "EmbeddingsRequest":
        if self.input is None and self.messages is None:
            raise ValueError("nothing to embed: input is required, or messages")
        if self.input is not None and self.messages is not None:
            raise ValueError("input and messages are both given: give one of them")
        if self.messages and sum(own.role == "user" for own in self.messages) != 1:
            raise ValueError("messages must have exactly one message of the user")
        return self

    def check_dimensions(self, own: int | None) -> None:
        """Raise InvalidRequest if the caller asks for other dimensions than the model's own."""
        check_dimensions("dimensions", self.dimensions, own)
        check_dimensions("output_dimension", self.output_dimension, own)

    def rows(self, vectors: Vectors) -> Rows:
        """`vectors` in the form that the caller asked for."""
        match self.embedding_type:
            case None:
                return encode(vectors, self.encoding_format, self.output_dtype)
            case "base64":
                return encode(vectors, "base64", "float")
            case dtype:
                return encode(vectors, "float", dtype)

    @property
    def field(self) -> str:
        """The name of the field with the inputs."""
        return "input" if self.input is not None else "messages"

    def joints(self) -> list[Joint]:
        """The inputs in order.

        Raises InvalidRequest if a text is too long or an image's reference is empty.
        """
        inputs: Sequence[Input] = self.input or [
            own.parts() for own in self.messages or () if own.role == "user"
        ]
        return [
            Joint(tuple(self._item(index, part) for part in parts))
            for index, parts in enumerate(inputs)
        ]

    def _kind_of(self, value: str) -> Kind:
        """The kind of a plain string. Without `modality`, a data: URL of an image is an image."""
        is_left_open = "modality" not in self.model_fields_set
        return "image" if is_left_open and _IMAGE_DATA.match(value) else self.modality

    def _item(self, index: int, part: Part) -> Item:
        kind, value = part.kind or self._kind_of(part.value), part.value
        if kind == "text" and len(value) > MAX_TEXT_CHARS:
            fault = FieldError(
                (self.field, index),
                f"has {len(value):,} characters, the limit is {MAX_TEXT_CHARS:,}",
            )
        elif kind == "image" and not re.search(NOT_BLANK, value):
            fault = FieldError((self.field, index), "is an empty string")
        else:
            return Text(value) if kind == "text" else ImageUrl(as_url(value))
        raise InvalidRequest(f"{fault.path} {fault.message}", [fault])


class ImagesRequest(EmbeddingsRequest):
    """The request of POST /v1/embeddings, but plain strings are images."""

    model_config = ConfigDict(
        json_schema_extra=refusing(
            *_REFUSED,
            {
                "properties": {"modality": {"enum": ["image", None]}, "input": _BLANK_INPUT},
                "required": ["input"],
            },
        )
    )

    modality: Kind = "image"
