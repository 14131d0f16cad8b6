"""POST /embed/mixed"""

from common.embedding import get_embedder

from common.encoding import encode
from common.schemas import MixedRequest, MixedResponse


def embed(body: MixedRequest) -> MixedResponse:
    """Texts and images in one request; the images are fetched while the texts are encoded."""
    embedder = get_embedder()
    texts, images = embedder.embed_mixed(body.texts, body.urls)
    image_rows, indices = images.rows(body)
    return MixedResponse(
        text_embeddings=encode(texts.vectors, body.encoding_format, body.output_dtype),
        image_embeddings=image_rows,
        truncated=texts.truncated,
        indices=indices,
        errors=images.errors,
        model=embedder.model.spec.id,
        dimensions=texts.vectors.shape[1] or images.vectors.shape[1],
    )
