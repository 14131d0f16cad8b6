"""POST /embed/image"""

from common.embedding import get_embedder

from common.schemas import ImageRequest, ImageResponse


def embed(body: ImageRequest) -> ImageResponse:
    """Vectors of the images that worked, and an error for each that did not."""
    embedder = get_embedder()
    images = embedder.embed_images(body.urls)
    rows, indices = images.rows(body)
    return ImageResponse(
        embeddings=rows,
        indices=indices,
        errors=images.errors,
        model=embedder.model.spec.id,
        dimensions=images.vectors.shape[1],
    )
