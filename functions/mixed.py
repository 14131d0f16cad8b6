"""POST /embed/mixed"""

from common.encoding import encode
from common.items import ImageUrl, Item, Text
from common.schemas import MixedRequest, MixedResponse
from functions.call import Call
from functions.image_rows import image_rows


def embed(body: MixedRequest, call: Call) -> MixedResponse:
    """Texts and images in one request; the images are fetched while the texts are encoded."""
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
