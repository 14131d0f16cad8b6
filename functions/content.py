"""Reads inputs in the forms of multimodal APIs: strings, pairs and content parts."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from functions.field_errors import field_errors, summary
from functions.request_schema import NOT_BLANK, Schema, all_null, refusing
from functions.schemas import MAX_IMAGES, MAX_TEXTS, Request, Text

Kind = Literal["text", "image"]
Reference = Annotated[
    str, Field(json_schema_extra={"pattern": NOT_BLANK})
]  # URL, data: URL or base64
IDS_FAULT = (
    "holds token ids, which belong to another model's tokenizer; send strings "
    "(LangChain's OpenAIEmbeddings does with check_embedding_ctx_length=False)"
)
FAULT = 'is neither a string nor {"text": "…"} nor {"image": "…"} nor a list of content parts'


@dataclass(frozen=True)
class Part:
    """A text, or the reference of an image. `kind` is None for a plain string of unknown kind."""

    value: str
    kind: Kind | None = None


Input = tuple[Part, ...]  # several parts get one vector together


class PairInput(Request):
    """A text, an image, or both for one vector together."""

    model_config = ConfigDict(json_schema_extra=refusing(all_null("text", "image")))

    text: Text | None = None
    image: Reference | None = None

    def parts(self) -> Input:
        """The given parts; empty if both are null."""
        text = [] if self.text is None else [Part(self.text, "text")]
        image = [] if self.image is None else [Part(self.image, "image")]
        return (*text, *image)


class TextPart(Request):
    """A text, as a content part."""

    type: Literal["text"]
    text: Text

    def parts(self) -> Input:
        """The text."""
        return (Part(self.text, "text"),)


class ImageTarget(Request):
    """Where the image is. `detail` has no effect."""

    url: Reference
    detail: Literal["auto", "low", "high"] | None = None


def _as_target(value: object) -> object:
    """Some callers send the URL itself where OpenAI's API has an object with the URL."""
    return {"url": value} if isinstance(value, str) else value


class ImageUrlPart(Request):
    """An image, as a content part."""

    type: Literal["image_url"]
    image_url: Annotated[
        ImageTarget,
        BeforeValidator(_as_target, json_schema_input_type=ImageTarget | Reference),
    ]

    def parts(self) -> Input:
        """The image."""
        return (Part(self.image_url.url, "image"),)


# `type` decides which of the two is meant, so a wrong part has the errors of that one alone.
ContentPart = Annotated[TextPart | ImageUrlPart, Field(discriminator="type")]


_Parts = Annotated[list[ContentPart], Field(min_length=1, max_length=16)]


class ContentInput(Request):
    """Content parts that get one vector together."""

    content: _Parts

    def parts(self) -> Input:
        """All parts in order."""
        return tuple(part for own in self.content for part in own.parts())


def _as_parts(value: object) -> object:
    """A message's content may be a string in place of a list with one text."""
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


_EMPTY: Schema = {
    "anyOf": [
        {"const": ""},
        {"type": "array", "items": {"properties": {"text": {"const": ""}}, "required": ["text"]}},
    ]
}


class Message(Request):
    """A chat message. One of the user has what is embedded: its parts get one vector together.

    One of the system is an instruction, which CLIP cannot follow, so it has no effect.
    One of the assistant is empty: some callers end a conversation with it.
    """

    model_config = ConfigDict(
        json_schema_extra=refusing(
            {"properties": {"role": {"const": "assistant"}, "content": {"not": _EMPTY}}}
        )
    )

    role: Literal["user", "system", "assistant"]
    content: Annotated[_Parts, BeforeValidator(_as_parts, json_schema_input_type=Text | _Parts)]

    @model_validator(mode="after")
    def _assistant_says_nothing(self) -> "Message":
        if self.role == "assistant" and any(part.value for part in self.parts()):
            raise ValueError("is the assistant's and not empty: only the user's is embedded")
        return self

    def parts(self) -> Input:
        """All parts in order, without an empty text beside an image."""
        parts = tuple(part for own in self.content for part in own.parts())
        images = [part for part in parts if part.kind == "image"]
        return tuple(part for part in parts if part.value or part in images or not images)


_Single = Text | PairInput | TextPart | ImageUrlPart | ContentInput
Several = Annotated[list[_Single], Field(min_length=1, max_length=MAX_TEXTS + MAX_IMAGES)]
Inputs = _Single | Several  # as the OpenAPI document describes it


def read_inputs(value: object) -> list[Input]:
    """One input or several, as a list. Raises ValueError that names the first wrong one."""
    given = value if isinstance(value, list) else [value]
    if not 1 <= len(given) <= MAX_TEXTS + MAX_IMAGES:
        raise ValueError(
            f"has {len(given):,} items, the limits are 1 and {MAX_TEXTS + MAX_IMAGES:,}"
        )
    return [
        _read_input(f"item {index}" if given is value else "", one)
        for index, one in enumerate(given)
    ]


def _read_input(place: str, given: object) -> Input:
    if isinstance(given, str):
        return (Part(given),)
    if isinstance(given, dict) and (parts := _parts_of(place, given)):
        return parts
    is_tokens = isinstance(given, int | list) and not isinstance(given, bool)
    raise ValueError(f"{place} {IDS_FAULT if is_tokens else FAULT}".strip())


_PAIR: tuple[Any, TypeAdapter[Any]] = (PairInput, TypeAdapter(PairInput))
_FORMS: dict[str, tuple[Any, TypeAdapter[Any]]] = {  # by the key that only this form has
    "content": (ContentInput, TypeAdapter(ContentInput)),
    "type": (ContentPart, TypeAdapter(ContentPart)),
}


def _parts_of(place: str, given: dict[str, Any]) -> Input:
    """The parts of an object; empty if it has neither a text nor an image."""
    form, reader = next((own for key, own in _FORMS.items() if key in given), _PAIR)
    try:
        parts: Input = reader.validate_python(given).parts()
        return parts
    except ValidationError as error:
        wrong = summary(field_errors(error, form))
        raise ValueError(f"{place} is wrong: {wrong}".strip()) from error
