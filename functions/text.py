"""POST /embed/text"""

from common.encoding import encode
from common.items import Text
from common.schemas import TextRequest, TextResponse
from functions.call import Call


def embed(body: TextRequest, call: Call) -> TextResponse:
    """Vectors of the texts, in their order."""
    result = call.embed([Text(text) for text in body.texts])
    return TextResponse(
        embeddings=encode(result.vectors, body.encoding_format, body.output_dtype),
        model=call.model.spec.id,
        dimensions=result.dimensions,
        truncated=result.truncated,
    )
