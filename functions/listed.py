"""POST /embed/items: vectors of texts, images and pairs in one list."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from common import items
from common.encoding import Rows
from common.errors import ItemError
from common.joint import Joint, parts_of
from functions import schemas
from functions.call import Call
from functions.examples import DEMO, FOX, FOX_SIGNS, SIGNS, TEXT_SIGNS, Example
from functions.image_rows import ImagesRequest, image_rows
from functions.request_schema import all_null, refusing
from functions.responses import JSON, OCTETS, write_vectors
from functions.route import IMAGE_ERRORS, Answer, Body, Route

Weight = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class Weights(schemas.Request):
    """The weights of the text and the image of one item."""

    model_config = ConfigDict(
        json_schema_extra=refusing({"properties": {"text": {"const": 0}, "image": {"const": 0}}})
    )

    text: Weight
    image: Weight

    @model_validator(mode="after")
    def _one_counts(self) -> "Weights":
        if not self.text and not self.image:
            raise ValueError("are both 0: at least one must be positive")
        return self


class ListedItem(schemas.Request):
    """A text, an image, or both for one vector together."""

    model_config = ConfigDict(
        json_schema_extra=refusing(
            all_null("text", "url"),
            {
                "properties": {"weights": {"type": "object"}},
                "required": ["weights"],
                "anyOf": [all_null("text"), all_null("url")],
            },
        )
    )

    text: schemas.Text | None = None
    url: schemas.Url | None = None
    weights: Weights | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> "ListedItem":
        if self.text is None and self.url is None:
            raise ValueError("has neither text nor url: give one of them, or both")
        if self.weights and (self.text is None or self.url is None):
            raise ValueError("has weights, which need both text and url")
        return self

    def read(self) -> Joint:
        """The parts of this item and their weights."""
        text = [] if self.text is None else [items.Text(self.text)]
        image = [] if self.url is None else [items.ImageUrl(self.url)]
        weights = (self.weights.text, self.weights.image) if self.weights else ()
        return Joint((*text, *image), weights)


class ItemsRequest(ImagesRequest):
    """Texts, images and pairs of both, in any order."""

    items: Annotated[
        list[ListedItem],
        Field(min_length=1, max_length=schemas.MAX_TEXTS + schemas.MAX_IMAGES),
    ]


@dataclass(frozen=True)
class ItemsResponse:
    """`indices` says which item each row belongs to. `errors` lists each failed item."""

    embeddings: Rows
    indices: list[int]
    errors: Sequence[ItemError]
    truncated: list[int]
    model: str
    dimensions: int


def embed(body: ItemsRequest, call: Call) -> ItemsResponse:
    """Vectors of texts, images, or both together, in one list."""
    joints = [item.read() for item in body.items]
    schemas.checked_counts(parts_of(joints))
    result = call.embed_joints(joints)
    rows, indices = image_rows(result, body, lambda index: ("items", index))
    return ItemsResponse(
        embeddings=rows,
        indices=indices,
        errors=result.errors,
        truncated=result.truncated,
        model=call.model.spec.id,
        dimensions=result.dimensions,
    )


ROUTE = Route(
    "POST",
    "/embed/items",
    embed,
    Answer(ItemsResponse, "The embeddings.", write_vectors, (JSON, OCTETS)),
    Body(ItemsRequest),
    raises=IMAGE_ERRORS,
    examples={
        "an image and a text": Example(
            {"items": [{"url": FOX}, {"text": "a fox"}], **SIGNS},
            {
                "embeddings": [FOX_SIGNS, TEXT_SIGNS],
                "indices": [0, 1],
                "errors": [],
                "truncated": [],
                **DEMO,
            },
        ),
        "one vector of a text and an image": Example(
            {"items": [{"text": "a fox", "url": FOX, "weights": {"text": 1, "image": 3}}]}
        ),
    },
)
