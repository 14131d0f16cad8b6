"""Reads a multipart form into the fields of a request model. Files stay bytes."""

import io
from collections.abc import Iterator
from typing import Any, get_args

from flask import Request
from pydantic import BaseModel
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser

from common.items import ImageBytes
from functions.errors import InvalidRequest
from functions.request_schema import FLOAT16_AS_NUMBERS, NOT_BLANK, all_empty, never
from functions.schemas import MAX_IMAGES

FORM = "multipart/form-data"
MAX_PARTS = 8 * MAX_IMAGES  # above MAX_IMAGES, so that an error can tell how many images there are
MAX_NAME_CHARS = 200
# `format: binary` is OpenAPI 3.0's way to describe a file. Most generators expect it in 3.1 too.
FILE = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}
FILES, URLS = "files", "urls"


def read_form(request: Request, body: bytes) -> dict[str, Any]:
    """The form's fields: `files` as named ImageBytes, `urls` as strings, and all others.

    Raises InvalidRequest if the body is not a form, if a file is in another field or has no file
    name, or if a field is given twice.
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
    """The form's fields, each given once: files as named ImageBytes, others as strings.

    Raises InvalidRequest if the body is not a form, or if a field has no name or is given twice.
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
    """The file's name for an error message: printable, and at most MAX_NAME_CHARS long."""
    name = "".join(char if char.isprintable() else "�" for char in file.filename or "")
    return name[:MAX_NAME_CHARS] or f"{FILES}[{index}]"


def form_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a form with the fields of `model` and at least one image."""
    return {
        "type": "object",
        "properties": dict(_properties(model)),
        "additionalProperties": False,
        **never(all_empty(FILES, URLS), FLOAT16_AS_NUMBERS),
    }


def _properties(model: type[BaseModel]) -> Iterator[tuple[str, dict[str, Any]]]:
    text = {"type": "string", "pattern": NOT_BLANK}
    lists = {FILES: {"type": "array", "items": FILE}, URLS: {"type": "array", "items": text}}
    for name, field in model.model_fields.items():
        choices = {"type": "string", "enum": list(get_args(field.annotation))}
        yield name, {**lists[name], "maxItems": MAX_IMAGES} if name in lists else choices
