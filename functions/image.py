"""POST /embed/image: vectors of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, SkipValidation, model_validator

from common.encoding import Rows
from common.errors import ItemError
from common.items import Image, ImageBytes, ImageUrl
from functions import schemas
from functions.bodies import parse_json_or_form
from functions.call import Call
from functions.examples import BROKEN, DEMO, FOX, FOX_SIGNS, NOT_AN_IMAGE, SIGNS, Example
from functions.forms import FORM, form_schema
from functions.image_rows import ImagesRequest, image_rows
from functions.responses import JSON, OCTETS, write_vectors
from functions.route import IMAGE_ERRORS, Answer, Body, Route


class ImageRequest(ImagesRequest):
    """Images by URL, `data:` URL or `gs://` reference."""

    urls: Annotated[schemas.Urls, Field(min_length=1)]

    def images(self) -> list[Image]:
        """The images in the order of the rows."""
        return [*map(ImageUrl, self.urls)]

    def place(self, index: int) -> tuple[str, int]:
        """The field of the image at `index`, and its place there."""
        return "urls", index


class ImageForm(ImagesRequest):
    """Uploaded images and URLs. The rows of the files come first, then those of the URLs."""

    files: list[SkipValidation[ImageBytes]] = Field([])
    urls: list[schemas.Url] = Field([])

    @model_validator(mode="after")
    def _is_within_limits(self) -> "ImageForm":
        count = len(self.files) + len(self.urls)
        if not count:
            raise ValueError('the form has no images: give "files", "urls", or both')
        if count > schemas.MAX_IMAGES:
            counts = f"{len(self.files):,} files and {len(self.urls):,} urls"
            raise ValueError(f"the form has {counts}, the limit is {schemas.MAX_IMAGES} images")
        return self

    def images(self) -> list[Image]:
        """The images in the order of the rows."""
        return [*self.files, *map(ImageUrl, self.urls)]

    def place(self, index: int) -> tuple[str, int]:
        """The field of the image at `index`, and its place there."""
        files = len(self.files)
        return ("files", index) if index < files else ("urls", index - files)


@dataclass(frozen=True)
class ImageResponse:
    """`indices` says which input each row belongs to. `errors` lists each failed image."""

    embeddings: Rows
    indices: list[int]
    errors: Sequence[ItemError]
    model: str
    dimensions: int


def embed(body: ImageRequest | ImageForm, call: Call) -> ImageResponse:
    """Vectors of the images, and an error for each image that failed."""
    result = call.embed(body.images())
    rows, indices = image_rows(result, body, body.place)
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
    Answer(ImageResponse, "The embeddings.", write_vectors, (JSON, OCTETS)),
    Body(ImageRequest, parse_json_or_form(ImageForm), {FORM: form_schema(ImageForm)}),
    raises=IMAGE_ERRORS,
    examples={
        "vectors": Example({"urls": [FOX]}),
        "a failed image and a good one": Example(
            {"urls": [BROKEN, FOX], **SIGNS},
            {"embeddings": [FOX_SIGNS], "indices": [1], "errors": [NOT_AN_IMAGE], **DEMO},
        ),
        "a failed image keeps its place": Example(
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
