"""What the request models of all protocols share, and the limits of the API.

Requests are pydantic models: strict, frozen, without unknown fields. Responses are plain
dataclasses, because they need no validation and orjson writes numpy arrays directly.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from common import items
from common.encoding import EncodingFormat
from common.quantization import OutputDtype
from functions.errors import FieldError, InvalidRequest
from functions.request_schema import (
    FLOAT16_AS_NUMBERS,
    NOT_BLANK,
    all_null,
    describe_optional_fields,
    refusing,
)

MAX_TEXTS = 2048
MAX_IMAGES = 256
MAX_TEXT_CHARS = 100_000
MAX_BODY_BYTES = 32 * 2**20  # Cloud Run's own limit
MAX_EXACT = 2**53  # floats are exact integers up to here

OnError = Literal["skip", "null", "fail"]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS)]
Url = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    Field(json_schema_extra={"pattern": NOT_BLANK}),
]
Texts = Annotated[list[Text], Field(max_length=MAX_TEXTS)]
Urls = Annotated[list[Url], Field(max_length=MAX_IMAGES)]


def _as_whole(value: object) -> object:
    """256.0 as 256: JSON has one type of number, and some clients write integers as floats."""
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) <= MAX_EXACT
    return int(value) if is_whole else value  # type: ignore[call-overload]


def _as_list(value: object) -> object:
    """One text as a list with it."""
    return [value] if isinstance(value, str) else value


_Several = Annotated[list[Text], Field(min_length=1, max_length=MAX_TEXTS)]
TextOrTexts = Annotated[_Several, BeforeValidator(_as_list, json_schema_input_type=Text | _Several)]
WholeNumber = Annotated[int, Field(ge=-MAX_EXACT, le=MAX_EXACT), BeforeValidator(_as_whole)]
Count = Annotated[int, Field(ge=1), BeforeValidator(_as_whole)]


class Request(BaseModel):
    """The base of all request bodies. A null in an optional field means that it is absent."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra=describe_optional_fields,
        defer_build=True,  # with its first request: a cold start waits for none of them
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        fields = cls.model_fields.items()
        optional = {own.alias or name for name, own in fields if not own.is_required()}
        return {
            name: part for name, part in value.items() if part is not None or name not in optional
        }


class Item(Request):
    """A text or an image, not both."""

    model_config = ConfigDict(
        json_schema_extra=refusing(
            all_null("text", "url"),
            {
                "properties": {"text": {"type": "string"}, "url": {"type": "string"}},
                "required": ["text", "url"],
            },
        )
    )

    text: Text | None = None
    url: Url | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "Item":
        if (self.text is None) == (self.url is None):
            raise ValueError("has neither text nor url, or both: give exactly one of them")
        return self

    def read(self) -> items.Item:
        """The text or image that this item describes."""
        return items.Text(self.text) if self.text is not None else items.ImageUrl(self.url or "")


def checked_counts(given: Sequence[items.Item]) -> None:
    """Raise InvalidRequest if there are more texts or images than one request may have."""
    texts = sum(isinstance(item, items.Text) for item in given)
    images = len(given) - texts
    if texts > MAX_TEXTS or images > MAX_IMAGES:
        raise InvalidRequest(
            f"{texts:,} texts and {images:,} images, "
            f"the limits are {MAX_TEXTS:,} and {MAX_IMAGES:,}"
        )


def check_not_truncated(truncated: Sequence[int], field: str, remedy: str) -> None:
    """Raise InvalidRequest if a text of the list `field` was cut. `remedy` is how to allow it."""
    if truncated:
        why = f"is longer than the model's context; send {remedy} to cut it"
        fault = FieldError((field, truncated[0]), why)
        raise InvalidRequest(f"{fault.path} {fault.message}", [fault])


class EmbeddingRequest(Request):
    """How to write the vectors."""

    model_config = ConfigDict(json_schema_extra=refusing(FLOAT16_AS_NUMBERS))

    encoding_format: EncodingFormat = "float"
    output_dtype: OutputDtype = "float"

    @model_validator(mode="after")
    def _float16_is_base64_only(self) -> "EmbeddingRequest":
        if self.output_dtype == "float16" and self.encoding_format == "float":
            raise ValueError('output_dtype "float16" needs encoding_format "base64"')
        return self
