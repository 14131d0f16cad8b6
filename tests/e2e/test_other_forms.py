"""Ranking, raw vectors, uploads and calls from pages."""

import base64
from typing import Any

import numpy as np
import pytest
import requests

from export.emoji import picture_of
from tests.e2e.server import Server

FOX = base64.b64encode(picture_of("fox")).decode()
PIZZA = base64.b64encode(picture_of("pizza")).decode()


def data_url(encoded: str) -> str:
    return "data:image/png;base64," + encoded


def native(server: Server, texts: list[str], images: list[str]) -> tuple[Any, Any]:
    body = server.post(
        "/embed/mixed", {"texts": texts, "urls": [data_url(image) for image in images]}
    ).json()
    return np.array(body["text_embeddings"]), np.array(body["image_embeddings"])


def test_ranking_puts_the_right_text_first_and_its_probabilities_are_a_softmax(
    demo: Server,
) -> None:
    candidates = [
        {"text": "a pizza"},
        {"text": "a fox"},
        {"url": "http://10.0.0.1/"},
        {"url": data_url(PIZZA)},
    ]
    body = demo.post("/rank", {"query": {"url": data_url(FOX)}, "candidates": candidates}).json()
    assert body["results"][0]["index"] == 1
    assert sorted(result["index"] for result in body["results"]) == [0, 1, 3]
    assert [(error["index"], error["code"]) for error in body["errors"]] == [(2, "blocked_url")]
    assert sum(result["probability"] for result in body["results"]) == pytest.approx(1)
    assert body["probability_kind"] == "softmax"
    texts, images = native(demo, ["a pizza", "a fox"], [FOX, PIZZA])
    cosines = {0: texts[0] @ images[0], 1: texts[1] @ images[0], 3: images[1] @ images[0]}
    for result in body["results"]:
        assert result["cosine"] == pytest.approx(cosines[result["index"]], abs=1e-5)
    best = demo.post(
        "/rank", {"query": {"text": "a fox"}, "candidates": candidates, "top_k": 1}
    ).json()
    assert [result["index"] for result in best["results"]] == [1]


def test_ranking_refuses_what_it_cannot_rank(demo: Server) -> None:
    candidates = [{"text": "a pizza"}]
    failed = demo.post("/rank", {"query": {"url": "http://10.0.0.1/"}, "candidates": candidates})
    assert (failed.status_code, failed.json()["errors"][0]["loc"]) == (422, ["query", 0])
    assert demo.post("/rank", {"query": {"text": "a"}, "candidates": []}).status_code == 400
    assert (
        demo.post(
            "/rank", {"query": {"text": "a", "url": "b"}, "candidates": candidates}
        ).status_code
        == 400
    )
    assert demo.post("/rank", {"query": {}, "candidates": candidates}).status_code == 400
    assert (
        demo.post("/rank", {"query": {"text": "a"}, "candidates": candidates * 2049}).status_code
        == 400
    )
    none = demo.post(
        "/rank", {"query": {"text": "a"}, "candidates": [{"url": "http://10.0.0.1/"}]}
    ).json()
    assert none["results"] == []


def test_raw_vectors_come_as_octets(demo: Server) -> None:
    accept = {"Accept": "application/octet-stream"}
    texts, images = native(demo, ["a fox", "a pizza"], [FOX])
    raw = demo.post("/embed/text", {"texts": ["a fox", "a pizza"]}, headers=accept)
    assert raw.headers["Content-Type"] == "application/octet-stream"
    assert (raw.headers["X-Embedding-Count"], raw.headers["X-Embedding-Dimensions"]) == ("2", "256")
    np.testing.assert_allclose(np.frombuffer(raw.content, "<f4").reshape(2, 256), texts, atol=1e-6)
    urls = ["http://10.0.0.1/", data_url(FOX)]
    raw = demo.post("/embed/image", {"urls": urls, "output_dtype": "int8"}, headers=accept)
    assert (raw.headers["X-Embedding-Indices"], len(raw.content)) == ("1", 256)
    vector = np.frombuffer(raw.content, np.int8).astype(float)
    assert vector @ images[0] / np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
    kept = demo.post("/embed/image", {"urls": urls, "on_error": "null"}, headers=accept)
    assert (kept.headers["X-Embedding-Count"], kept.headers["X-Embedding-Indices"]) == ("1", "1")
    assert len(kept.content) == 1024, "bytes have no null: the indices say which rows are there"
    both = demo.post("/embed/text", {"texts": ["a"]}, headers={"Accept": "*/*"})
    assert both.headers["Content-Type"] == "application/json"


def test_files_can_be_uploaded(demo: Server) -> None:
    _, images = native(demo, [], [FOX, PIZZA])
    files: Any = [
        ("files", ("fox.png", picture_of("fox"), "image/png")),
        ("files", ("b", b"no picture")),
        ("files", ("pizza.png", picture_of("pizza"))),
    ]
    body = requests.post(
        demo.url + "/embed/image", files=files, data={"on_error": "null"}, timeout=60
    ).json()
    assert [error["code"] for error in body["errors"]] == ["not_an_image"]
    assert body["embeddings"][1] is None
    np.testing.assert_allclose([body["embeddings"][0], body["embeddings"][2]], images, atol=1e-6)
    for bad in ({"pictures": ("a.png", b"a")}, {"a": (None, "b")}):
        refused = requests.post(demo.url + "/embed/image", files=bad, timeout=60)
        assert refused.status_code == 400
    unknown = requests.post(
        demo.url + "/embed/image", files=files, data={"colour": "red"}, timeout=60
    )
    assert "colour is not a known field" in unknown.json()["detail"]
    broken = requests.post(
        demo.url + "/embed/image",
        b"--x\r\nbroken",
        headers={"Content-Type": "multipart/form-data; boundary=x"},
        timeout=60,
    )
    assert broken.status_code == 400


def test_pages_of_permitted_origins_may_call(configured: Server) -> None:
    asked = {"Origin": "https://b.example", "Access-Control-Request-Method": "POST"}
    preflight = requests.options(configured.url + "/embed/text", headers=asked, timeout=10)
    assert preflight.status_code == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://b.example"
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
    answer = configured.post(
        "/embed/text", {"texts": ["a"]}, headers={"Origin": "https://a.example"}
    )
    assert answer.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert "Origin" in answer.headers["Vary"]
    for origin in ("https://c.example", "null", ""):
        stranger = configured.post("/embed/text", {"texts": ["a"]}, headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in stranger.headers
        assert "Access-Control-Allow-Methods" not in stranger.headers


def test_no_origin_may_call_unless_one_is_set(demo: Server) -> None:
    answer = demo.get("/", headers={"Origin": "https://a.example"})
    assert not [name for name in answer.headers if name.startswith("Access-Control")]
