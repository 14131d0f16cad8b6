"""Reads inputs in the forms of multimodal APIs: strings, pairs and content parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from functions.request_schema import all_null, refusing
from functions.schemas import MAX_IMAGES, MAX_TEXTS, Request, Text

Kind = Literal["text", "image"]
Reference = Annotated[str, Field(json_schema_extra={"pattern": r"\S"})]  # URL, data: URL or base64
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


class ImageUrlPart(Request):
    """An image, as a content part."""

    type: Literal["image_url"]
    image_url: ImageTarget | Reference

    def parts(self) -> Input:
        """The image."""
        target = self.image_url
        return (Part(target if isinstance(target, str) else target.url, "image"),)


class ContentInput(Request):
    """Content parts that get one vector together."""

    content: Annotated[list[TextPart | ImageUrlPart], Field(min_length=1, max_length=16)]

    def parts(self) -> Input:
        """All parts in order."""
        return tuple(part for own in self.content for part in own.parts())


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
    if isinstance(given, dict) and (parts := _parts_of(given)):
        return parts
    is_tokens = isinstance(given, int | list) and not isinstance(given, bool)
    raise ValueError(f"{place} {IDS_FAULT if is_tokens else FAULT}".strip())


def _parts_of(given: dict[str, Any]) -> Input:
    """The parts of an object; empty if it matches no known form."""
    for model in _models_of(given):
        try:
            return model.model_validate(given).parts()
        except ValidationError:
            continue
    return ()


def _models_of(
    given: dict[str, Any],
) -> Sequence[type[PairInput] | type[TextPart] | type[ImageUrlPart] | type[ContentInput]]:
    if "content" in given:
        return (ContentInput,)
    return (TextPart, ImageUrlPart) if "type" in given else (PairInput,)
