"""POST /embed/image"""

from common.items import ImageUrl
from common.schemas import ImageRequest, ImageResponse
from functions.call import Call
from functions.image_rows import image_rows


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
