"""The forms of other embedding servers: vLLM, Ollama, Text Embeddings Inference, Cohere's v1."""

from typing import Any

import numpy as np
import pytest

from tests.asking import FOX, Ask, asking, joined, native, post

LONG = "a fox " * 200


@pytest.fixture(scope="module")
def ask() -> Ask:
    return asking()


def refused(ask: Ask, path: str, body: object, status: int = 400) -> Any:
    answer = ask(path, method="POST", json=body)
    assert answer.status_code == status, answer.text
    return answer.json


def message(*parts: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(parts)}


SAID = {"type": "text", "text": "a fox"}
SHOWN = {"type": "image_url", "image_url": {"url": FOX}}


def test_vllms_messages_get_one_vector(ask: Ask) -> None:
    text, image = native(ask)
    empty: dict[str, Any] = {"type": "text", "text": ""}
    system, assistant = message(SAID, role="system"), message(empty, role="assistant")
    for messages, expected in (
        ([message(SAID)], text),
        ([{"role": "user", "content": "a fox"}], text),
        ([message(SHOWN)], image),
        ([message(SHOWN, SAID)], joined(text, image)),
        ([system, message(SHOWN, empty), assistant], image),  # as Dify writes it
    ):
        body = {"model": "demo", "messages": messages, "normalize": True, "user": "me"}
        body |= {"continue_final_message": True, "add_special_tokens": True}
        (row,) = post(ask, "/v1/embeddings", body)["data"]
        assert row["embedding"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "nothing to embed: input is required, or messages"),
        ({"messages": [message(SAID)], "input": "a"}, "input and messages are both given"),
        ({"messages": []}, "messages is empty"),
        ({"messages": [message(SAID)] * 2}, "messages must have exactly one message of the user"),
        ({"messages": [message(SAID, role="system")]}, "exactly one message of the user"),
        ({"messages": [message(SAID, role="assistant")]}, "messages[0] is the assistant's and not"),
        ({"messages": [message(SAID, role="tool")]}, 'messages[0].role is "tool", expected'),
        ({"messages": [message({"type": "audio"})]}, 'messages[0].content[0] has "audio" as its'),
        ({"messages": [message(SAID)], "normalize": False}, "normalize is false, expected true"),
        ({"messages": [message(SAID)], "chat_template": "a"}, "chat_template is not a known field"),
    ],
)
def test_what_would_change_the_vector_of_a_message_is_refused(
    ask: Ask, body: object, words: str
) -> None:
    assert words in refused(ask, "/v1/embeddings", body)["error"]["message"]


def test_a_failed_image_of_a_message_is_named(ask: Ask) -> None:
    broken = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    error = refused(ask, "/v1/embeddings", {"messages": [message(broken)]}, 422)["error"]
    assert error["param"] == "messages[0]"


def test_an_empty_reference_of_an_image_is_refused(ask: Ask) -> None:
    empty = {"type": "image_url", "image_url": ""}
    for parts in ([empty], [SHOWN, empty]):
        words = refused(ask, "/v1/embeddings", {"messages": [message(*parts)]})["detail"]
        assert words == "messages[0] is an empty string"


def test_jinas_list_with_one_type_is_that_type(ask: Ask) -> None:
    rows = [
        post(ask, "/v1/embeddings", {"input": "a fox", "embedding_type": own})["data"][0]
        for own in (["ubinary"], "ubinary")
    ]
    assert rows[0] == rows[1]
    body = {"input": "a fox", "embedding_type": ["float", "ubinary"]}
    assert refused(ask, "/v1/embeddings", body)["error"]["param"] == "embedding_type"


def test_ollamas_callers_get_the_native_vectors(ask: Ask) -> None:
    text, _ = native(ask)
    options = {"options": {"num_ctx": 2048}, "keep_alive": "5m", "dimensions": 256}
    for body in (
        {"model": "demo", "input": "a fox"},
        {"model": "demo:latest", "input": ["a fox"], "truncate": True, **options},
        {"model": "demo", "input": "a fox", "keep_alive": -1},
    ):
        answer = post(ask, "/api/embed", body)
        assert answer["model"] == body["model"]
        assert answer["embeddings"] == [pytest.approx(text, abs=1e-6)]
        assert answer["prompt_eval_count"] == 4
        assert answer["total_duration"] > 0


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "demo", "input": LONG, "truncate": False}, 400, "input[0] is longer than"),
        ({"model": "demo", "input": "a", "dimensions": 64}, 400, "the model has 256"),
        ({"model": "nomic-embed-text", "input": "a"}, 404, "is not served here"),
        ({"model": "demo", "input": []}, 400, "input is empty"),
        ({"model": "demo", "prompt": "a"}, 400, "input is required"),
    ],
)
def test_ollamas_errors_have_its_shape(ask: Ask, body: object, status: int, words: str) -> None:
    answer = refused(ask, "/api/embed", body, status)
    assert list(answer) == ["error"]
    assert words in answer["error"]


@pytest.mark.parametrize("path", ["/embed", "/"])
def test_callers_of_text_embeddings_inference_get_the_native_vectors(ask: Ask, path: str) -> None:
    text, _ = native(ask)
    right = {"truncate": True, "truncation_direction": "Right", "normalize": True}
    for body in ({"inputs": "a fox"}, {"inputs": ["a fox"], "prompt_name": None, **right}):
        assert post(ask, path, body) == [pytest.approx(text, abs=1e-6)]
    assert ask(path, method="POST", json={"inputs": LONG}).status_code == 200


def test_two_routes_of_one_path_are_told_apart() -> None:
    """GET / is the banner, POST / embeds; each is counted and answers errors as itself."""
    own = asking()
    assert "routes" in (own("/").json or {})
    assert list(own("/", method="POST", json={}).json or {}) == ["error", "error_type"]
    refused = own("/", method="DELETE")
    assert (refused.json or {})["code"] == "method_not_allowed"
    assert refused.headers["Allow"] == "POST, GET, HEAD, OPTIONS"
    counted = own("/metrics").text
    for route in ('route="GET /",status="200"', 'route="POST /embed",status="400"'):
        assert route in counted


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": ["a", LONG], "truncate": False}, "inputs[1] is longer than the model's"),
        ({"inputs": "a", "normalize": False}, "normalize is false, expected true"),
        ({"inputs": "a", "prompt_name": "query"}, 'prompt_name is "query", expected null'),
        ({"inputs": "a", "truncation_direction": "Left"}, 'truncation_direction is "Left"'),
        ({"inputs": [[1, 2]]}, "inputs[0] is a list, expected a string"),
        ({"inputs": "a", "dimensions": 64}, "the model has 256"),
    ],
)
def test_its_errors_have_its_shape(ask: Ask, body: object, words: str) -> None:
    answer = refused(ask, "/embed", body)
    assert answer["error_type"] == "validation"
    assert words in answer["error"]


def test_voyages_inputs_get_one_vector_each(ask: Ask) -> None:
    text, image = native(ask)
    shown = {"type": "image_base64", "image_base64": FOX}
    linked = {"type": "image_url", "image_url": FOX}
    inputs = [{"content": content} for content in ([SAID], [shown], [linked, SAID])]
    body = {"model": "demo", "input_type": "document", "truncation": True, "inputs": inputs}
    answer = post(ask, "/v1/multimodalembeddings", body)
    for row, expected in zip(answer["data"], [text, image, joined(text, image)], strict=True):
        assert row["embedding"] == pytest.approx(expected, abs=1e-6)
    assert answer["usage"] == {
        "text_tokens": 8,
        "total_tokens": 8,
        "image_pixels": 0,
        "video_pixels": 0,
    }


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"inputs": [{"content": [{"type": "video_url", "video_url": "a"}]}]}, 400, "video_url"),
        ({"inputs": ["a"]}, 400, "inputs[0] is a string, expected an object"),
        ({"output_dimension": 64}, 400, "the model has 256"),
        ({"truncation": False, "inputs": [{"content": [{"type": "text", "text": LONG}]}]}, 400, ""),
        ({"model": "voyage-multimodal-3"}, 404, "is not served here"),
        (
            {"inputs": [{"content": [{"type": "image_url", "image_url": "ftp://a"}]}]},
            422,
            "inputs[0]: ",
        ),
    ],
)
def test_voyages_errors_have_its_shape(
    ask: Ask, given: dict[str, Any], status: int, words: str
) -> None:
    answer = refused(
        ask, "/v1/multimodalembeddings", {"inputs": [{"content": [SAID]}], **given}, status
    )
    assert list(answer) == ["detail"]
    assert words in answer["detail"]


def test_coheres_version_1_answers_with_a_list_or_by_type(ask: Ask) -> None:
    text, image = native(ask)
    body = {"model": "demo", "texts": ["a fox"], "input_type": "search_query", "truncate": "END"}
    floats = post(ask, "/v1/embed", body)
    assert floats["embeddings"] == [pytest.approx(text, abs=1e-6)]
    assert (floats["response_type"], floats["texts"]) == ("embeddings_floats", ["a fox"])
    assert floats["meta"]["api_version"]["version"] == "1"
    typed = post(ask, "/v1/embed", {**body, "embedding_types": ["int8", "float"]})
    assert typed["response_type"] == "embeddings_by_type"
    assert np.array(typed["embeddings"]["float"]) == pytest.approx(np.array([text]), abs=1e-6)
    shown = post(ask, "/v1/embed", {"images": [FOX], "input_type": "image"})
    assert (shown["embeddings"], shown["texts"]) == ([pytest.approx(image, abs=1e-6)], [])
    assert "give one of" in refused(ask, "/v1/embed", {})["message"]
