"""The machine learning service of an Immich server's smart search: GET /ping and POST /predict.

Other tasks than CLIP get an error status. Immich then tries its next URL, which can serve them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Request as HttpRequest
from flask import Response
from pydantic import ConfigDict, SkipValidation, ValidationError, model_validator

from common.allowance import Allowance
from common.encoding import as_strings
from common.errors import ModelNotFound
from common.items import ImageBytes, Item, Text
from functions import schemas, strict_json
from functions.bodies import read_fields
from functions.call import Call
from functions.envelopes import Envelope, message_of
from functions.errors import FieldError, ImagesFailed, InvalidRequest
from functions.field_errors import field_errors, summary, validate
from functions.forms import FILE, FORM
from functions.model_names import check_model
from functions.route import IMAGE_ERRORS, Answer, Body, Protocol, Route

NAMES = {  # Immich's names of models that have another name here
    "clip": "ViT-B-32__laion400m_e32",
    "mclip": "XLM-Roberta-Large-Vit-B-16Plus",
}


class Task(schemas.Request):
    """One tower of a model. Other fields, such as a text's language, have no effect on CLIP."""

    model_config = ConfigDict(extra="ignore")

    modelName: str  # noqa: N815 - the protocol's name


class ClipTask(schemas.Request):
    """The tower to use: one of the two."""

    textual: Task | None = None
    visual: Task | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "ClipTask":
        if (self.textual is None) == (self.visual is None):
            raise ValueError("has neither textual nor visual, or both: give exactly one of them")
        return self

    def target(self) -> tuple[str, str]:
        """The form's field to embed, and the name of the model for it."""
        if self.textual:
            return "text", self.textual.modelName
        return "image", self.visual.modelName if self.visual else ""


class Entries(schemas.Request):
    """Immich's tasks. Only CLIP is served here."""

    clip: ClipTask


class PredictRequest(schemas.Request):
    """A form. `entries` is JSON such as `{"clip": {"textual": {"modelName": "…"}}}`."""

    entries: str
    text: schemas.Text | None = None
    image: SkipValidation[ImageBytes] | None = None

    def task(self) -> ClipTask:
        """What `entries` asks for. Raises InvalidRequest."""
        try:
            return Entries.model_validate(strict_json.loads(self.entries.encode())).clip
        except InvalidRequest as error:
            raise _refused([FieldError((), f"is not JSON: {error}")]) from error
        except ValidationError as error:
            raise _refused(field_errors(error, Entries)) from error


def _refused(errors: Sequence[FieldError]) -> InvalidRequest:
    """The error for these faults of `entries`."""
    faults = [FieldError(("entries", *one.loc), one.message) for one in errors]
    return InvalidRequest(summary(faults), faults)


def parse(
    request: HttpRequest, model: type[PredictRequest], allowance: Allowance
) -> PredictRequest:
    """The form as `model`. Raises InvalidRequest, TooLarge or UnsupportedMediaType."""
    read: PredictRequest = validate(read_fields(request, allowance), model)
    return read


@dataclass(frozen=True)
class PredictResponse:
    """A vector, as a JSON list in a string."""

    clip: str


@dataclass(frozen=True)
class ImagePredictResponse(PredictResponse):
    """The vector of an image, with the image's size in pixels."""

    imageHeight: int  # noqa: N815 - the protocol's names
    imageWidth: int  # noqa: N815


def predict(body: PredictRequest, call: Call) -> PredictResponse | ImagePredictResponse:
    """The vector of a text or an image.

    Raises ImagesFailed.
    """
    field, name = body.task().target()
    check_model(name, call, *names_of(call.model.spec.id))
    given = body.text if field == "text" else body.image
    if given is None:
        raise InvalidRequest(f"{field} is required", [FieldError((field,), "is required")])
    item: Item = Text(given) if isinstance(given, str) else given
    result = call.embed([item])
    if result.errors:
        first = result.errors[0]
        raise ImagesFailed(f"{first.detail} ({first.code})", result.errors, field="image")
    vector = as_strings(result.vectors, "json")[0]
    if isinstance(item, ImageBytes):
        from common.images.size import size_of  # not at the top: requests of texts do not need it

        width, height = size_of(item.data)
        return ImagePredictResponse(vector, height, width)
    return PredictResponse(vector)


def names_of(model: str) -> tuple[str, ...]:
    """Immich's names of the model with that id, with open_clip's underscores and with hyphens."""
    architecture, _, pretrained = model.partition("/")
    own = f"{architecture}__{pretrained}" if pretrained else NAMES.get(model, model)
    hyphened = f"{architecture}__{pretrained.replace('_', '-')}" if pretrained else own
    return own, hyphened


def ping(_: Call) -> str:
    """The process is alive."""
    return "pong"


def write_text(value: str, _: HttpRequest) -> Response:
    """200 with `value` as plain text."""
    return Response(value, mimetype="text/plain")


@dataclass(frozen=True)
class ImmichError:
    """The shape of errors of Immich's machine learning service."""

    detail: str


SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "entries": {
            "type": "string",
            "contentMediaType": "application/json",
            "examples": ['{"clip": {"textual": {"modelName": "demo"}}}'],
        },
        "text": {"type": "string"},
        "image": FILE,
    },
    "required": ["entries"],
    "additionalProperties": False,
}
PROTOCOL = Protocol(
    tag="Immich",
    description="The machine learning service of an Immich server's smart search.",
    envelope=Envelope(ImmichError, lambda error: ImmichError(message_of(error))),
    routes=(
        Route(
            "GET",
            "/ping",
            ping,
            Answer(None, "The text `pong`.", write_text, ("text/plain",)),
            is_open=True,
        ),
        Route(
            "POST",
            "/predict",
            predict,
            Answer(PredictResponse | ImagePredictResponse, "The embedding."),
            Body(PredictRequest, parse, {FORM: dict(SCHEMA)}, takes_json=False),
            raises=(*IMAGE_ERRORS, ModelNotFound),
        ),
    ),
)
