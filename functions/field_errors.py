"""Turns pydantic's errors into sentences that name the field, its value and the limit."""

import json
from collections.abc import Callable, Iterator, Sequence
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
    expected = limits["expected"].replace("True", "true").replace("False", "false")  # as in JSON
    return f"is {_shown_choice(value)}, expected {expected}"


def _shown_choice(value: object) -> str:
    """A value that is none of the expected ones: as JSON if it is short, else its kind."""
    if isinstance(value, str):
        return shown(value)
    return json.dumps(value) if isinstance(value, bool) else kind_of(value)


def _tag(value: Any, limits: Limits) -> str:
    name = limits["discriminator"]
    given = _shown_choice(value[name.strip("'")])
    expected = " or ".join(limits["expected_tags"].split(", "))
    return f"has {given} as its {name}, expected {expected}"


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
    "bool_type": _expected("true or false"),
    "dict_type": _expected("an object"),
    "none_required": lambda value, _: f"is {_shown_choice(value)}, expected null",
    "int_type": _whole_number,
    "float_type": _expected("a number"),
    "finite_number": lambda value, _: f"is {value}, expected a finite number",
    "greater_than_equal": lambda value, limits: f"is {value}, the minimum is {limits['ge']:g}",
    "less_than_equal": lambda value, limits: f"is {value}, the maximum is {limits['le']:,.0f}",
    "literal_error": _literal,
    "model_type": _expected("an object"),
    "model_attributes_type": _expected("an object"),  # where an object may have several forms
    "union_tag_not_found": lambda _value, limits: f"has no {limits['discriminator']}",
    "union_tag_invalid": _tag,
    "value_error": lambda _value, limits: str(limits["error"]),
}


def validate(value: dict[str, Any], model: type[BaseModel]) -> Any:
    """`value` as `model`. Raises InvalidRequest that names each wrong field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        errors = field_errors(error, model)
        raise InvalidRequest(summary(errors), errors) from error


def field_errors(error: ValidationError, form: Any) -> list[FieldError]:
    """The errors of a value that is no `form`: a model, or an annotation with models."""
    details = error.errors(include_url=False)[:MAX_REPORTED]
    return [_field_error(one, list(_models_in(form))) for one in details]


def summary(errors: Sequence[FieldError]) -> str:
    """The first of `errors` as one sentence for people."""
    return "; ".join(f"{one.path} {one.message}".strip() for one in errors[:MAX_IN_MESSAGE])


def kind_of(value: object) -> str:
    """The JSON name of a value's type, with its article, such as `a string`."""
    return _KINDS.get(type(value).__name__, type(value).__name__)


def shown(value: str) -> str:
    """A caller's string for a message: quoted, and cut at MAX_SHOWN_CHARS."""
    return json.dumps(value[:MAX_SHOWN_CHARS], ensure_ascii=False)


def _field_error(details: ErrorDetails, models: list[type[BaseModel]]) -> FieldError:
    kind, place = details["type"], _Place(models)
    for part in details["loc"]:
        place.enter(part)
    if kind == "extra_forbidden":
        message = f"is not a known field; the fields are {', '.join(_names(place.owner))}"
    else:
        sentence = SENTENCES.get(kind, _expected("another value"))
        message = sentence(details["input"], details.get("ctx", {}))
    return FieldError(tuple(place.loc), message)


class _Place:
    """Where an error is, as a caller sees it: without the tags that pydantic puts in its path."""

    def __init__(self, models: list[type[BaseModel]]) -> None:
        self.loc: list[str | int] = []
        self.owner = models[0]  # of the last field
        self._models = models  # that the value here may be

    def enter(self, part: str | int) -> None:
        """Go on to the next part of pydantic's path."""
        if isinstance(part, int):
            self.loc.append(part)
        elif len(self._models) > 1:  # the part is the tag of the model that was meant
            self._models = [own for own in self._models if part in _tags(own)]
        else:
            self.loc.append(part[:MAX_SHOWN_CHARS])
            self.owner = self._models[0]
            self._models = list(_models_of(self.owner, part))


def _models_of(model: type[BaseModel], name: str) -> Iterator[type[BaseModel]]:
    """The models that the field of that name may hold."""
    for own, field in model.model_fields.items():
        if name == (field.alias or own):
            yield from _models_in(field.annotation)


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    return get_args(model.model_fields["type"].annotation)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]
