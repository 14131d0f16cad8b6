"""Turns pydantic's errors into sentences that name the field, its value and the limit."""

import json
from collections.abc import Callable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from functions.errors import FieldError, InvalidRequest

MAX_REPORTED = 20  # field errors in one answer
MAX_IN_MESSAGE = 3  # field errors in the message for people
MAX_SHOWN_CHARS = 100  # characters shown of a value or a name that a caller sent
_KINDS = {
    "str": "a string",
    "int": "a number",
    "float": "a number",
    "bool": "a boolean",
    "list": "a list",
    "dict": "an object",
    "NoneType": "null",
}
Limits = dict[str, Any]


def _expected(what: str) -> Callable[[Any, Limits], str]:
    return lambda value, _: f"is {kind_of(value)}, expected {what}"


def _whole_number(value: Any, _: Limits) -> str:
    if isinstance(value, str):
        return f"is the string {shown(value)}, expected a whole number without quotes"
    is_number = isinstance(value, float)
    return f"is {value if is_number else kind_of(value)}, expected a whole number"


def _literal(value: Any, limits: Limits) -> str:
    given = shown(value) if isinstance(value, str) else kind_of(value)
    return f"is {given}, expected {limits['expected']}"


# A sentence for each type of error that the request models can raise.
SENTENCES: dict[str, Callable[[Any, Limits], str]] = {
    "missing": lambda _value, _: "is required",
    "string_type": _expected("a string"),
    "string_unicode": lambda _value, _: "contains half of a surrogate pair",
    "string_too_short": lambda _value, _: "is an empty string",
    "string_too_long": lambda value, limits: (
        f"has {len(value):,} characters, the limit is {limits['max_length']:,}"
    ),
    "list_type": _expected("a list"),
    "too_short": lambda _value, _: "is empty, at least one item is required",
    "too_long": lambda value, limits: (
        f"has {len(value):,} items, the limit is {limits['max_length']:,}"
    ),
    "int_type": _whole_number,
    "float_type": _expected("a number"),
    "finite_number": lambda value, _: f"is {value}, expected a finite number",
    "greater_than_equal": lambda value, limits: f"is {value}, the minimum is {limits['ge']:g}",
    "less_than_equal": lambda value, limits: f"is {value}, the maximum is {limits['le']:,.0f}",
    "literal_error": _literal,
    "model_type": _expected("an object"),
    "value_error": lambda _value, limits: str(limits["error"]),
}


def validate(value: dict[str, Any], model: type[BaseModel]) -> Any:
    """`value` as `model`. Raises InvalidRequest that names each wrong field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        details = error.errors(include_url=False)[:MAX_REPORTED]
        errors = [_field_error(one, model) for one in details]
        message = "; ".join(f"{one.path} {one.message}".strip() for one in errors[:MAX_IN_MESSAGE])
        raise InvalidRequest(message, errors) from error


def kind_of(value: object) -> str:
    """The JSON name of a value's type, with its article, such as `a string`."""
    return _KINDS.get(type(value).__name__, type(value).__name__)


def shown(value: str) -> str:
    """A caller's string for a message: quoted, and cut at MAX_SHOWN_CHARS."""
    return json.dumps(value[:MAX_SHOWN_CHARS], ensure_ascii=False)


def _field_error(details: ErrorDetails, model: type[BaseModel]) -> FieldError:
    loc, kind = details["loc"], details["type"]
    if kind == "extra_forbidden":
        names = ", ".join(_names(_model_at(model, loc[:-1])))
        message = f"is not a known field; the fields are {names}"
    else:
        sentence = SENTENCES.get(kind, _expected("another value"))
        message = sentence(details["input"], details.get("ctx", {}))
    return FieldError(tuple(_shown_part(part) for part in loc), message)


def _model_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> type[BaseModel]:
    """The model of the object at `loc` inside `model`."""
    for part in loc:
        for name, field in model.model_fields.items():
            if part == (field.alias or name):
                model = next(_models_in(field.annotation), model)
                break
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _shown_part(part: str | int) -> str | int:
    return part if isinstance(part, int) else part[:MAX_SHOWN_CHARS]
