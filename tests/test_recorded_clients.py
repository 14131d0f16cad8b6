"""Requests of clients that are too heavy to install for a test, as they were recorded.

Each client was run by hand against the function, and its vectors were those of the native route.
"""

import base64
from typing import Any

import numpy as np
import pytest

from tests.asking import Ask, asking

TEXTS = ["a fox", "a pizza"]
BOTH = {"input": TEXTS, "model": "demo"}
JINA = {"late_chunking": False, "truncate": True, "dimensions": 256, "embedding_type": "float"}
LANGCHAINS_OPTIONS = dict.fromkeys(
    ["mirostat", "num_ctx", "num_gpu", "num_thread", "repeat_penalty", "temperature", "stop"]
)
RECORDED: dict[str, tuple[str, dict[str, Any]]] = {
    "litellm 1.110.2, openai/demo": ("/v1/embeddings", BOTH),
    "litellm 1.110.2, infinity/demo": ("/embeddings", BOTH),
    "litellm 1.110.2, nvidia_nim/demo": ("/v1/embeddings", {**BOTH, "input_type": "passage"}),
    "litellm 1.110.2, ollama/demo": ("/api/embed", BOTH),
    "litellm 1.110.2, cohere/demo": (
        "/v1/embed",
        {"model": "demo", "texts": TEXTS, "input_type": "search_document"},
    ),
    "llama-index-embeddings-openai 0.7.0": (
        "/v1/embeddings",
        {**BOTH, "encoding_format": "base64"},
    ),
    "llama-index-embeddings-text-embeddings-inference 0.6.0": (
        "/embed",
        {"inputs": TEXTS, "truncate": True},
    ),
    "llama-index-embeddings-huggingface-api 0.6.0": ("/", {"inputs": TEXTS}),
    "llama-index-embeddings-ollama 0.10.0": ("/api/embed", {**BOTH, "options": {}}),
    "haystack-ai 3.4.1, OpenAIDocumentEmbedder": (
        "/v1/embeddings",
        {**BOTH, "encoding_format": "float"},
    ),
    "chromadb, OpenAIEmbeddingFunction": ("/v1/embeddings", {**BOTH, "encoding_format": "base64"}),
    "chromadb, JinaEmbeddingFunction": (
        "/v1/embeddings",
        {**BOTH, **JINA, "task": "retrieval.passage", "normalized": True},
    ),
    "chromadb, HuggingFaceEmbeddingServer": ("/embed", {"inputs": TEXTS}),
    "langchain-cohere 0.6.0": (
        "/v1/embed",
        {
            "texts": TEXTS,
            "model": "demo",
            "input_type": "search_document",
            "embedding_types": ["float"],
            "truncate": None,
        },
    ),
    "langchain-ollama 1.1.0": ("/api/embed", {**BOTH, "options": LANGCHAINS_OPTIONS}),
    "@langchain/ollama 1.3.0": ("/api/embed", {**BOTH, "truncate": False}),
    "mistralai 3.7.0 and langchain-mistralai 1.1.6": ("/v1/embeddings", BOTH),
    "voyageai 0.5.0, embed": (
        "/v1/embeddings",
        {
            **BOTH,
            "input_type": "document",
            "truncation": True,
            "output_dtype": None,
            "output_dimension": None,
            "encoding_format": "base64",
        },
    ),
    "voyageai 0.5.0, multimodal_embed": (
        "/v1/multimodalembeddings",
        {
            "inputs": [{"content": [{"type": "text", "text": text}]} for text in TEXTS],
            "model": "demo",
            "input_type": "document",
            "truncation": True,
            "output_dtype": None,
            "output_dimension": None,
            "encoding_format": "base64",
        },
    ),
}


@pytest.fixture(scope="module")
def ask() -> Ask:
    return asking()


def rows_of(answer: Any) -> list[Any]:
    """The vectors in an answer of any of these protocols."""
    if isinstance(answer, list):
        return answer
    if "data" in answer:
        return [item["embedding"] for item in answer["data"]]
    rows: Any = answer["embeddings"]
    return list(rows["float"] if isinstance(rows, dict) else rows)


@pytest.mark.parametrize("client", RECORDED)
def test_a_recorded_request_gets_the_native_vectors(ask: Ask, client: str) -> None:
    path, body = RECORDED[client]
    native: Any = ask("/embed/text", method="POST", json={"texts": TEXTS}).json
    answer = ask(path, method="POST", json=body)
    assert answer.status_code == 200, answer.text
    rows = [
        np.frombuffer(base64.b64decode(row), "<f4") if isinstance(row, str) else row
        for row in rows_of(answer.json)
    ]
    assert np.array(rows) == pytest.approx(np.array(native["embeddings"]), abs=1e-6)


def test_answers_have_the_id_that_mistrals_clients_require(ask: Ask) -> None:
    answer: Any = ask("/v1/embeddings", method="POST", json=BOTH)
    assert answer.json["id"] == answer.headers["X-Request-Id"]
