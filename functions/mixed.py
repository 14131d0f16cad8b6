"""POST /embed/mixed: vectors of texts and of images in one request."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ConfigDict, Field, model_validator

from common.encoding import Rows, encode
from common.errors import ItemError
from common.items import ImageUrl, Item, Text
from functions import schemas
from functions.call import Call
from functions.examples import DEMO, FOX, FOX_SIGNS, SIGNS, TEXT_SIGNS, Example
from functions.image_rows import ImagesRequest, image_rows
from functions.request_schema import FLOAT16_AS_NUMBERS, all_empty, refusing
from functions.route import IMAGE_ERRORS, Answer, Body, Route


class MixedRequest(ImagesRequest):
    """Texts and images. Either list may be missing, but not both."""

    model_config = ConfigDict(
        json_schema_extra=refusing(FLOAT16_AS_NUMBERS, all_empty("texts", "urls"))
    )

    texts: schemas.Texts = Field([])
    urls: schemas.Urls = Field([])

    @model_validator(mode="after")
    def _something_to_embed(self) -> "MixedRequest":
        if not self.texts and not self.urls:
            raise ValueError("nothing to embed: give texts, urls, or both")
        return self


@dataclass(frozen=True)
class MixedResponse:
    """Vectors of the texts in their order, and of the images that did not fail.

    `truncated` lists the indices of texts cut at the model's context length. `indices` says which
    URL each row of `image_embeddings` belongs to. `errors` lists each failed image.
    """

    text_embeddings: Rows
    image_embeddings: Rows
    truncated: list[int]
    indices: list[int]
    errors: Sequence[ItemError]
    model: str
    dimensions: int


def embed(body: MixedRequest, call: Call) -> MixedResponse:
    """Vectors of texts and images. Images are fetched while texts are encoded."""
    items: list[Item] = [*map(Text, body.texts), *map(ImageUrl, body.urls)]
    texts, images = call.embed(items).split(len(body.texts))
    rows, indices = image_rows(images, body)
    return MixedResponse(
        text_embeddings=encode(texts.vectors, body.encoding_format, body.output_dtype),
        image_embeddings=rows,
        truncated=texts.truncated,
        indices=indices,
        errors=images.errors,
        model=call.model.spec.id,
        dimensions=texts.dimensions,
    )


ROUTE = Route(
    "POST",
    "/embed/mixed",
    embed,
    Answer(MixedResponse, "The embeddings."),
    Body(MixedRequest),
    raises=IMAGE_ERRORS,
    examples={
        "vectors": Example({"texts": ["a fox"], "urls": [FOX]}),
        "binary vectors": Example(
            {"texts": ["a fox"], "urls": [FOX], **SIGNS},
            {
                "text_embeddings": [TEXT_SIGNS],
                "image_embeddings": [FOX_SIGNS],
                "truncated": [],
                "indices": [0],
                "errors": [],
                **DEMO,
            },
        ),
    },
)
