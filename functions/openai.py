"""OpenAI's API: POST /v1/embeddings and GET /v1/models, and the path of Azure's clients.

Images may be sent in the forms of infinity, Jina and OpenAI's content parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from common.encoding import Row
from common.errors import ModelNotFound
from common.joint import parts_of
from common.models.model import Model
from common.version import SERVICE
from functions.call import Call
from functions.envelopes import Envelope, code_of, message_of
from functions.errors import FieldError, ImagesFailed, InvalidRequest
from functions.model_names import check_model
from functions.openai_examples import EMBEDDINGS_EXAMPLES, IMAGES_EXAMPLES
from functions.openai_requests import EmbeddingsRequest, ImagesRequest
from functions.responses import status_of
from functions.route import IMAGE_ERRORS, Answer, Body, Protocol, Route
from functions.schemas import checked_counts

ERROR_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}
# infinity's client sends this if its caller named no model.
UNSPECIFIED_MODEL = "default/not-specified"


@dataclass(frozen=True)
class Embedding:
    """One vector, as numbers or as base64."""

    index: int
    embedding: Row
    object: str = "embedding"


@dataclass(frozen=True)
class Usage:
    """The number of tokens that the model read."""

    prompt_tokens: int
    total_tokens: int


@dataclass(frozen=True)
class EmbeddingsResponse:
    """Vectors in the order of the inputs. `id` is the request id; Mistral's client requires one."""

    id: str
    data: Sequence[Embedding]
    model: str
    usage: Usage
    object: str = "list"


@dataclass(frozen=True)
class Stats:
    """The number of items that wait for the model; infinity's clients read it."""

    queue_absolute: int


@dataclass(frozen=True)
class ModelCard:
    """The served model. infinity's client requires its own `owned_by`; OpenAI's accepts any."""

    id: str
    full_name: str
    dimensions: int | None
    fingerprint: str | None
    stats: Stats
    object: str = "model"
    created: int = 0
    owned_by: str = "infinity"
    backend: str = SERVICE
    capabilities: tuple[str, ...] = ("embed", "image_embed")


@dataclass(frozen=True)
class ModelsResponse:
    """A list with the served model."""

    data: Sequence[ModelCard] = field(default_factory=list)
    object: str = "list"


def embeddings(body: EmbeddingsRequest, call: Call) -> EmbeddingsResponse:
    """Vectors of texts and images, in the order of the inputs.

    Raises ImagesFailed if any image fails, because OpenAI's answer cannot hold partial results.
    """
    joints = body.joints()
    if body.model not in (None, UNSPECIFIED_MODEL):
        check_model(body.model, call)
    body.check_dimensions(call.model.dimensions)
    checked_counts(parts_of(joints))
    embedded = call.embed_joints(joints)
    body.check_dimensions(embedded.dimensions)  # known at the latest now
    if embedded.errors:
        first = embedded.errors[0]
        message = f"{body.field}[{first.index}]: {first.detail} ({first.code})"
        raise ImagesFailed(message, embedded.errors, field=body.field)
    data = [Embedding(index, row) for index, row in enumerate(body.rows(embedded.vectors))]
    usage = Usage(embedded.tokens, embedded.tokens)
    return EmbeddingsResponse(call.record.request_id, data, call.model.spec.id, usage)


def deployment(body: EmbeddingsRequest, call: Call, id: str) -> EmbeddingsResponse:
    """As POST /v1/embeddings. Azure's clients name the model, a deployment there, in the path.

    `model` in the body has no effect, as on Azure. Raises as `embeddings` does.
    """
    check_model(id, call)
    return embeddings(body.model_copy(update={"model": None}), call)


def models(call: Call) -> ModelsResponse:
    """List the served model."""
    return ModelsResponse([_card(call.model)])


def model(call: Call, id: str) -> ModelCard:
    """The served model, by any of its names.

    Raises ModelNotFound.
    """
    check_model(id, call)
    return _card(call.model)


def _card(served: Model) -> ModelCard:
    waiting = sum(tower.batcher.queue_items for tower in served.towers)
    return ModelCard(
        served.spec.id,
        served.spec.full_name,
        served.dimensions,
        served.fingerprint,
        Stats(waiting),
    )


@dataclass(frozen=True)
class OpenAIFault:
    """What is wrong. `param` is the path of the wrong field or image."""

    message: str
    type: str
    param: str | None
    code: str


@dataclass(frozen=True)
class OpenAIError:
    """The shape of OpenAI's errors. Jina's callers read `detail`: Weaviate's and Chroma's."""

    error: OpenAIFault
    detail: str


def _error_of(error: BaseException) -> OpenAIError:
    kind = ERROR_TYPES.get(HTTPStatus(status_of(error)))
    if kind is None:
        is_ours = status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR
        kind = "server_error" if is_ours else "invalid_request_error"
    param = None
    if isinstance(error, ImagesFailed):
        param = FieldError(error.locs[0], "").path
    elif isinstance(error, InvalidRequest) and error.errors:
        param = error.errors[0].path
    message = message_of(error)
    return OpenAIError(OpenAIFault(message, kind, param, code_of(error)), message)


PROTOCOL = Protocol(
    tag="OpenAI",
    description="OpenAI's embeddings API, extended by images.",
    envelope=Envelope(OpenAIError, _error_of),
    routes=(
        Route(
            "POST",
            "/v1/embeddings",
            embeddings,
            Answer(EmbeddingsResponse, "The embeddings."),
            Body(EmbeddingsRequest),
            raises=(*IMAGE_ERRORS, ModelNotFound),
            examples=EMBEDDINGS_EXAMPLES,
            aliases=("/embeddings",),
        ),
        Route(
            "POST",
            "/openai/deployments/{id}/embeddings",
            deployment,
            Answer(EmbeddingsResponse, "The embeddings."),
            Body(EmbeddingsRequest),
            raises=(*IMAGE_ERRORS, ModelNotFound),
            examples=EMBEDDINGS_EXAMPLES,
        ),
        Route(
            "POST",
            "/embeddings_image",
            embeddings,
            Answer(EmbeddingsResponse, "The embeddings."),
            Body(ImagesRequest),
            raises=(*IMAGE_ERRORS, ModelNotFound),
            examples=IMAGES_EXAMPLES,
        ),
        Route(
            "GET",
            "/v1/models",
            models,
            Answer(ModelsResponse, "The served model."),
            aliases=("/models",),
        ),
        Route(
            "GET",
            "/v1/models/{id}",
            model,
            Answer(ModelCard, "The served model."),
            raises=(ModelNotFound,),
            aliases=("/models/{id}",),
        ),
    ),
)
