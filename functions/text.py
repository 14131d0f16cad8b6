"""POST /embed/text: vectors of texts."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from common.encoding import Rows, encode
from common.items import Text
from functions import schemas
from functions.call import Call
from functions.examples import DEMO, SIGNS, TEXT_SIGNS, Example
from functions.responses import JSON, OCTETS, write_vectors
from functions.route import TEXT_ERRORS, Answer, Body, Route


class TextRequest(schemas.EmbeddingRequest):
    """Texts to embed."""

    texts: Annotated[schemas.Texts, Field(min_length=1)]


@dataclass(frozen=True)
class TextResponse:
    """Vectors in the order of the texts.

    `truncated` lists the indices of texts cut at the model's context length.
    """

    embeddings: Rows
    model: str
    dimensions: int
    truncated: list[int]


def embed(body: TextRequest, call: Call) -> TextResponse:
    """Vectors of the texts, in the order of the request."""
    result = call.embed([Text(text) for text in body.texts])
    return TextResponse(
        embeddings=encode(result.vectors, body.encoding_format, body.output_dtype),
        model=call.model.spec.id,
        dimensions=result.dimensions,
        truncated=result.truncated,
    )


ROUTE = Route(
    "POST",
    "/embed/text",
    embed,
    Answer(TextResponse, "The embeddings.", write_vectors, (JSON, OCTETS)),
    Body(TextRequest),
    raises=TEXT_ERRORS,
    examples={
        "vectors": Example({"texts": ["a fox", "a pizza"]}),
        "binary vectors": Example(
            {"texts": ["a fox"], **SIGNS},
            {"embeddings": [TEXT_SIGNS], **DEMO, "truncated": []},
        ),
    },
)
