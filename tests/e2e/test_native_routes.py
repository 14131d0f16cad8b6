"""The native routes through the real console script: contract, errors, headers, limits."""

import base64
import io
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from export.emoji import picture_of
from tests.e2e.server import Server
from tests.image_server import ImageServer, picture
from tests.image_urls import data_url


def unit(rows: list[list[float]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    vectors = np.array(rows)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    return vectors


def problem(response: requests.Response, status: int, code: str) -> str:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    body = response.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, "about:blank")
    return str(body["detail"])


def test_text_vectors_are_unit_in_order_and_complete(demo: Server) -> None:
    body = demo.post("/embed/text", {"texts": ["a fox", "a pizza", "a fox"]}).json()
    vectors = unit(body["embeddings"])
    assert vectors.shape == (3, 256)
    assert (body["model"], body["dimensions"], body["truncated"]) == ("demo", 256, [])
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert not np.allclose(vectors[0], vectors[1])


def test_long_texts_are_cut_and_reported(demo: Server) -> None:
    body = demo.post("/embed/text", {"texts": ["a fox", "fox " * 100, "狐" * 5000, ""]}).json()
    assert body["truncated"] == [1, 2]
    unit(body["embeddings"])


def test_an_image_ranks_its_own_caption_first(demo: Server, image_server: ImageServer) -> None:
    urls = [image_server.serve(f"/{name}.png", picture_of(name)) for name in ("fox", "pizza")]
    body = demo.post("/embed/mixed", {"texts": ["a fox", "a pizza"], "urls": urls}).json()
    cosines = unit(body["image_embeddings"]) @ unit(body["text_embeddings"]).T
    assert cosines.argmax(axis=1).tolist() == [0, 1]
    assert (body["indices"], body["errors"], body["truncated"]) == ([0, 1], [], [])


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"])
def test_every_format_is_read_from_a_url_and_from_a_data_url(
    demo: Server, image_server: ImageServer, image_format: str
) -> None:
    body = picture(image_format)
    urls = [image_server.serve("/a", body, f"image/{image_format.lower()}"), data_url(body)]
    answer = demo.post("/embed/image", {"urls": urls}).json()
    assert answer["errors"] == []
    vectors = unit(answer["embeddings"])
    np.testing.assert_array_equal(vectors[0], vectors[1])


def test_one_dead_url_among_ten_costs_one_entry(demo: Server, image_server: ImageServer) -> None:
    urls = [
        image_server.serve(f"/{number}.png", picture(size=(20 + number, 30)))
        for number in range(10)
    ]
    urls[4] = image_server.url + "/gone.png?token=secret"
    body = demo.post("/embed/image", {"urls": urls}).json()
    assert len(body["embeddings"]) == 9
    assert body["indices"] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert body["errors"] == [
        {
            "index": 4,
            "url": image_server.url + "/gone.png",
            "code": "http_status",
            "detail": "the server answered 404",
            "retryable": False,
        }
    ]


def test_ten_dead_urls_give_200_with_an_empty_list(demo: Server, image_server: ImageServer) -> None:
    response = demo.post(
        "/embed/image", {"urls": [f"{image_server.url}/gone-{number}" for number in range(10)]}
    )
    body = response.json()
    assert (response.status_code, body["embeddings"], body["indices"]) == (200, [], [])
    assert [error["index"] for error in body["errors"]] == list(range(10))
    assert body["dimensions"] == 256


def test_on_error_null_keeps_places_and_fail_refuses_all(
    demo: Server, image_server: ImageServer
) -> None:
    urls = [image_server.url + "/gone", image_server.serve("/a.png", picture())]
    body = demo.post("/embed/image", {"urls": urls, "on_error": "null"}).json()
    assert body["embeddings"][0] is None
    unit(body["embeddings"][1:])
    assert body["indices"] == [0, 1]
    response = demo.post("/embed/image", {"urls": urls, "on_error": "fail"})
    assert problem(response, 422, "image_failed") == "1 of 2 images could not be embedded"
    assert response.json()["errors"][0]["loc"] == ["urls", 0]


def test_equal_urls_of_a_request_are_fetched_once(demo: Server, image_server: ImageServer) -> None:
    url = image_server.serve("/a.png", picture())
    body = demo.post("/embed/image", {"urls": [url] * 20}).json()
    assert len(body["embeddings"]) == 20
    assert image_server.requests["/a.png"] == 1


def test_a_slow_server_costs_at_most_the_fetch_deadline(
    demo: Server, image_server: ImageServer
) -> None:
    urls = [image_server.url + "/drip", image_server.serve("/a.png", picture())]
    body = demo.post("/embed/image", {"urls": urls}).json()  # the host would drip for ever
    assert body["indices"] == [1]
    assert body["errors"][0]["code"] == "timeout"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://169.254.169.254/computeMetadata/v1/", "blocked_url"),
        ("http://10.0.0.1/a.png", "blocked_url"),
        ("http://[::1]/a.png", "blocked_url"),
        ("ftp://example.com/a.png", "invalid_url"),
        ("no url at all", "invalid_url"),
        ("data:image/png;base64,????", "invalid_url"),
        (data_url(b"no image"), "not_an_image"),
        (data_url(picture()[:60]), "corrupt_image"),
        ("data:text/html,<p>", "unsupported_type"),
    ],
)
def test_what_cannot_be_an_image_has_a_code_of_its_own(demo: Server, url: str, code: str) -> None:
    (error,) = demo.post("/embed/image", {"urls": [url]}).json()["errors"]
    assert error["code"] == code


def test_the_largest_requests_succeed_and_one_more_is_refused(demo: Server) -> None:
    body = demo.post(
        "/embed/text", {"texts": [f"fox number {number}" for number in range(2048)]}
    ).json()
    assert len(body["embeddings"]) == 2048
    urls = []
    for number in range(256):
        file = io.BytesIO()
        Image.new("RGB", (16, 16), (number, 255 - number, 7)).save(file, "PNG")
        urls.append(data_url(file.getvalue()))
    assert len(demo.post("/embed/image", {"urls": urls}).json()["embeddings"]) == 256
    too_many_texts = demo.post("/embed/text", {"texts": ["a"] * 2049})
    assert (
        problem(too_many_texts, 400, "invalid_request")
        == "texts has 2,049 items, the limit is 2,048"
    )
    too_many_urls = demo.post("/embed/image", {"urls": ["https://example.com"] * 257})
    assert problem(too_many_urls, 400, "invalid_request") == "urls has 257 items, the limit is 256"


def test_empty_lists_are_400_as_they_ever_were(demo: Server) -> None:
    for path, fields in (("text", ["texts"]), ("image", ["urls"]), ("mixed", ["texts", "urls"])):
        problem(
            demo.post(f"/embed/{path}", {field: [] for field in fields}), 400, "invalid_request"
        )


def test_vectors_come_as_base64_and_in_compact_types(demo: Server) -> None:
    floats = np.array(
        demo.post("/embed/text", {"texts": ["a fox"]}).json()["embeddings"][0], np.float32
    )

    def ask(dtype: str, encoding: str) -> Any:
        body = {"texts": ["a fox"], "output_dtype": dtype, "encoding_format": encoding}
        return demo.post("/embed/text", body).json()["embeddings"][0]

    np.testing.assert_array_equal(
        np.frombuffer(base64.b64decode(ask("float", "base64")), "<f4"), floats
    )
    half = np.frombuffer(base64.b64decode(ask("float16", "base64")), "<f2")
    np.testing.assert_allclose(half, floats, atol=1e-3)
    small = np.array(ask("int8", "float"), np.float32)
    assert small @ floats / np.linalg.norm(small) > 0.999
    assert ask("ubinary", "float") == np.packbits(floats > 0).tolist()
    assert ask("binary", "float") == (np.packbits(floats > 0).astype(int) - 128).tolist()


def test_unknown_paths_and_wrong_methods(demo: Server) -> None:
    problem(demo.get("/embed/sound"), 404, "not_found")
    response = demo.get("/embed/text")
    problem(response, 405, "method_not_allowed")
    assert response.headers["Allow"] == "POST, OPTIONS"
    assert demo.get("/health/").status_code == 200
    options = requests.options(demo.url + "/health", timeout=10)
    assert (options.status_code, options.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    head = requests.head(demo.url + "/health", timeout=10)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) > 0


def test_wrong_media_types_and_sizes(demo: Server) -> None:
    form = requests.post(demo.url + "/embed/text", data={"texts": "a"}, timeout=10)
    problem(form, 415, "unsupported_media_type")
    large = requests.post(
        demo.url + "/embed/text",
        data=b" " * (32 * 2**20 + 1),
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    problem(large, 413, "too_large")
    assert demo.get("/health").json()["status"] == "healthy"


def test_every_answer_carries_its_request_id_timings_and_protective_headers(demo: Server) -> None:
    named = demo.post("/embed/text", {"texts": ["a fox"]}, headers={"X-Request-Id": "mine-1"})
    assert named.headers["X-Request-Id"] == "mine-1"
    assert {part.split(";")[0].strip() for part in named.headers["Server-Timing"].split(",")} == {
        "queue",
        "encode",
        "total",
    }
    for response in (named, demo.get("/nowhere"), demo.get("/")):
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Request-Id"]
    odd = demo.get("/health", headers={"X-Request-Id": "a b<script>"})
    assert odd.headers["X-Request-Id"] != "a b<script>"


def test_the_banner_tells_model_limits_and_routes(demo: Server) -> None:
    banner = demo.get("/").json()
    assert (banner["model"], banner["dimensions"]) == ("demo", 256)
    assert banner["limits"] == {
        "texts": 2048,
        "images": 256,
        "body_bytes": 33554432,
        "text_characters": 100000,
    }
    assert "POST /embed/mixed" in banner["routes"]
    assert len(banner["fingerprint"]) == 16
    assert banner["text"] == {
        "loaded": True,
        "engine": "onnx",
        "device": "cpu",
        "precision": "int8",
    }


def test_health_has_the_fields_that_probes_read(demo: Server) -> None:
    body = demo.get("/health").json()
    assert {
        key: body[key]
        for key in ("status", "model_loaded", "text_model_loaded", "image_model_loaded")
    } == {
        "status": "healthy",
        "model_loaded": True,
        "text_model_loaded": True,
        "image_model_loaded": True,
    }
    assert demo.get("/health/live").json() == {"status": "alive"}
