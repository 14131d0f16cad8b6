"""Uploads: a multipart form as the fields of a request model. Files stay bytes."""

import io
from collections.abc import Iterator
from typing import Any

from flask import Request
from pydantic import BaseModel
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser

from common.errors import InvalidRequest
from common.items import ImageBytes
from functions.schemas import MAX_IMAGES

FORM = "multipart/form-data"
MAX_PARTS = 8 * MAX_IMAGES  # so that a form with too many images is told their number
MAX_NAME_CHARS = 200
FILES, URLS = "files", "urls"


def read_form(request: Request, body: bytes) -> dict[str, Any]:
    """The form's fields: `files` as ImageBytes with their names, `urls` as strings, the others.

    Raises InvalidRequest for what is not a form, a file in another field or without a file
    name, and a field that is given twice.
    """
    parser = FormDataParser(
        stream_factory=lambda *_, **__: io.BytesIO(), max_form_parts=MAX_PARTS, silent=False
    )
    stream, size = io.BytesIO(body), len(body)
    try:
        _, form, files = parser.parse(stream, request.mimetype, size, request.mimetype_params)
    except (ValueError, HTTPException) as error:
        message = f"the form could not be read, or has more than {MAX_PARTS:,} parts"
        raise InvalidRequest(f"{message}; one request takes {MAX_IMAGES} images") from error
    _check_names(form, files)
    uploads = [
        ImageBytes(file.read(), _name_of(file, index))
        for index, file in enumerate(files.getlist(FILES))
    ]
    lists = {FILES: uploads, URLS: form.getlist(URLS)}
    return {name: value for name, value in form.items() if name not in lists} | lists


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
    """The JSON schema of a form with the fields of `model`."""
    return {"type": "object", "properties": dict(_properties(model))}


def _properties(model: type[BaseModel]) -> Iterator[tuple[str, dict[str, Any]]]:
    text = {"type": "string"}
    file = text | {"contentMediaType": "application/octet-stream"}
    lists = {FILES: {"type": "array", "items": file}, URLS: {"type": "array", "items": text}}
    for name in model.model_fields:
        yield name, lists.get(name, text)
