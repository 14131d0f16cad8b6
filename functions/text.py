"""POST /embed/text"""

from common.embedding import get_embedder

from common.encoding import encode
from common.schemas import TextRequest, TextResponse


def embed(body: TextRequest) -> TextResponse:
    """Vectors of the texts, in their order."""
    embedder = get_embedder()
    texts = embedder.embed_texts(body.texts)
    return TextResponse(
        embeddings=encode(texts.vectors, body.encoding_format, body.output_dtype),
        model=embedder.model.spec.id,
        dimensions=texts.vectors.shape[1],
        truncated=texts.truncated,
    )
