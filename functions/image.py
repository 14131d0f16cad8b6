"""POST /embed/image"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from common.encoding import Rows
from common.errors import ItemError
from common.items import ImageUrl
from functions import schemas
from functions.bodies import FORM, form_schema, parse_json_or_files
from functions.call import Call
from functions.examples import BROKEN, DEMO, FOX, FOX_SIGNS, NOT_AN_IMAGE, SIGNS, Example
from functions.image_rows import ImagesRequest, image_rows
from functions.responses import JSON, OCTETS, write_vectors
from functions.route import IMAGE_ERRORS, Answer, Body, Route


class ImageRequest(ImagesRequest):
    """POST /embed/image"""

    urls: Annotated[schemas.Urls, Field(min_length=1)]


@dataclass(frozen=True)
class ImageResponse:
    """`indices` says which input each row belongs to; `errors` lists each image that failed."""

    embeddings: Rows
    indices: list[int]
    errors: Sequence[ItemError]
    model: str
    dimensions: int


def embed(body: ImageRequest, call: Call) -> ImageResponse:
    """Vectors of the images that worked, and an error for each that did not."""
    result = call.embed([ImageUrl(url) for url in body.urls])
    rows, indices = image_rows(result, body)
    return ImageResponse(
        embeddings=rows,
        indices=indices,
        errors=result.errors,
        model=call.model.spec.id,
        dimensions=result.dimensions,
    )


ROUTE = Route(
    "POST",
    "/embed/image",
    embed,
    Answer(ImageResponse, "The vectors.", write_vectors, (JSON, OCTETS)),
    Body(ImageRequest, parse_json_or_files, {FORM: form_schema(ImageRequest)}),
    raises=IMAGE_ERRORS,
    examples={
        "vectors": Example({"urls": [FOX]}),
        "a failure beside it": Example(
            {"urls": [BROKEN, FOX], **SIGNS},
            {"embeddings": [FOX_SIGNS], "indices": [1], "errors": [NOT_AN_IMAGE], **DEMO},
        ),
        "its place kept": Example(
            {"urls": [BROKEN, FOX], "on_error": "null", **SIGNS},
            {
                "embeddings": [None, FOX_SIGNS],
                "indices": [0, 1],
                "errors": [NOT_AN_IMAGE],
                **DEMO,
            },
        ),
    },
)
