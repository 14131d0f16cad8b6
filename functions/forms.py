"""Uploads: a multipart form as the fields of a request model. Files stay bytes."""

import io
from collections.abc import Iterator
from typing import Any, get_args

from flask import Request
from pydantic import BaseModel
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser

from common.errors import InvalidRequest
from common.items import ImageBytes
from functions.request_schema import all_empty
from functions.schemas import MAX_IMAGES

FORM = "multipart/form-data"
MAX_PARTS = 8 * MAX_IMAGES  # so that a form with too many images is told their number
MAX_NAME_CHARS = 200
# `format: binary` is OpenAPI 3.0's word for a file, which most generators look for in 3.1 too.
FILE = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
FILES, URLS = "files", "urls"


def read_form(request: Request, body: bytes) -> dict[str, Any]:
    """The form's fields: `files` as ImageBytes with their names, `urls` as strings, the others.

    Raises InvalidRequest for what is not a form, a file in another field or without a file
    name, and a field that is given twice.
    """
    form, files = _parse(request, body)
    _check_names(form, files)
    uploads = [
        ImageBytes(file.read(), _name_of(file, index))
        for index, file in enumerate(files.getlist(FILES))
    ]
    lists = {FILES: uploads, URLS: form.getlist(URLS)}
    return {name: value for name, value in form.items() if name not in lists} | lists


def read_single_fields(request: Request, body: bytes) -> dict[str, Any]:
    """The form's fields, each given once: a file as ImageBytes with its name, others as strings.

    Raises InvalidRequest for what is not a form, and a field without a name or given twice.
    """
    form, files = _parse(request, body)
    given = [*form.items(multi=True), *files.items(multi=True)]
    fields: dict[str, Any] = {}
    for name, value in given:
        if not name or name in fields:
            raise InvalidRequest(f'the field "{(name or "")[:100]}" has no name or is given twice')
        if isinstance(value, FileStorage):
            fields[name] = ImageBytes(value.read(), _name_of(value, 0))
        else:
            fields[name] = value
    return fields


def _parse(
    request: Request, body: bytes
) -> tuple[MultiDict[str, str], MultiDict[str, FileStorage]]:
    parser = FormDataParser(
        stream_factory=lambda *_, **__: io.BytesIO(), max_form_parts=MAX_PARTS, silent=False
    )
    stream, size = io.BytesIO(body), len(body)
    try:
        _, form, files = parser.parse(stream, request.mimetype, size, request.mimetype_params)
    except (ValueError, HTTPException) as error:
        message = f"the form could not be read, or has more than {MAX_PARTS:,} parts"
        raise InvalidRequest(f"{message}; one request takes {MAX_IMAGES} images") from error
    return form, files


def _check_names(form: MultiDict[str, str], files: MultiDict[str, FileStorage]) -> None:
    if None in form or None in files:
        raise InvalidRequest('a part of the form has no name; send images as "files"')
    if FILES in form:
        raise InvalidRequest(
            'a part "files" has no file name, so it is not a file: send it as one, '
            "for instance with curl -F files=@fox.png"
        )
    for name in files:
        if name != FILES:
            file = _name_of(files[name], 0)
            raise InvalidRequest(
                f'the file "{file}" is in the field "{name[:100]}", expected in "files"'
            )
    for name in form:
        if name != URLS and len(form.getlist(name)) > 1:
            raise InvalidRequest(f'the field "{name[:100]}" is given twice')


def _name_of(file: FileStorage, index: int) -> str:
    """The file's name as an error may show it."""
    name = "".join(char if char.isprintable() else "�" for char in file.filename or "")
    return name[:MAX_NAME_CHARS] or f"{FILES}[{index}]"


def form_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a form with the fields of `model`; one of the lists has to have an image."""
    return {
        "type": "object",
        "properties": dict(_properties(model)),
        "additionalProperties": False,
        "not": all_empty(FILES, URLS),
    }


def _properties(model: type[BaseModel]) -> Iterator[tuple[str, dict[str, Any]]]:
    text = {"type": "string", "minLength": 1}
    lists = {FILES: {"type": "array", "items": FILE}, URLS: {"type": "array", "items": text}}
    for name, field in model.model_fields.items():
        choices = {"type": "string", "enum": list(get_args(field.annotation))}
        yield name, {**lists[name], "maxItems": MAX_IMAGES} if name in lists else choices
