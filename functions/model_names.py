"""Which names callers may give the served model, and which length they may ask for."""

from common.errors import FieldError, InvalidRequest, ModelNotFound
from functions.call import Call


def check_model(name: str, call: Call, *also: str) -> None:
    """Raises ModelNotFound unless `name` is the served model's, an alias of it, or one of `also`."""
    served = call.model.spec
    if name not in (served.id, served.full_name, *call.settings.model_aliases, *also):
        raise ModelNotFound(f"the model {name[:100]!r} is not served here; {served.id!r} is")


def check_dimensions(field: str, asked: int | None, own: int | None) -> None:
    """Raises InvalidRequest for another length than the model's own; 0 and None ask for that."""
    if own and asked not in (None, 0, own):
        why = "CLIP is not Matryoshka-trained, so its vectors cannot be cut"
        fault = FieldError((field,), f"is {asked:,}, and the model has {own}: {why}")
        raise InvalidRequest(f"{fault.path} {fault.message}", [fault])
