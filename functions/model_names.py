"""Checks the model name and the vector length that a caller asks for."""

from common.errors import ModelNotFound
from functions.call import Call
from functions.errors import FieldError, InvalidRequest


def check_model(name: str, call: Call, *also: str) -> None:
    """Raise ModelNotFound unless `name` is the served model's id, full name or alias.

    `also` are further names to accept.
    """
    served = call.model.spec
    if name not in (served.id, served.full_name, *call.settings.model_aliases, *also):
        raise ModelNotFound(
            f"the model {name[:100]!r} is not served here; the served model is {served.id!r}"
        )


def check_dimensions(field: str, asked: int | None, own: int | None) -> None:
    """Raise InvalidRequest unless `asked` is the model's own length, 0 or None."""
    if own and asked not in (None, 0, own):
        why = "CLIP is not Matryoshka-trained, so its vectors cannot be shortened"
        fault = FieldError((field,), f"is {asked:,}, but the model has {own}: {why}")
        raise InvalidRequest(f"{fault.path} {fault.message}", [fault])
