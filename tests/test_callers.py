"""What other services' callers send: items in many shapes, fingerprints, preflights."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest

from common.config import Settings, SettingsError
from export.emoji import picture_of
from functions.immich import names_of
from tests.asking import FOX, Ask, asking, joined, native, post

BARE = FOX.partition(",")[2]


@pytest.fixture(scope="module")
def ask() -> Ask:
    return asking()


def test_items_in_any_order_get_the_vectors_of_the_other_native_routes(ask: Ask) -> None:
    text, image = native(ask)
    items = [
        {"url": FOX},
        {"text": "a fox", "url": FOX, "weights": {"text": 3, "image": 1}},
        {"text": "a fox"},
    ]
    body = post(ask, "/embed/items", {"items": items})
    assert body["indices"] == [0, 1, 2]
    for row, expected in zip(
        body["embeddings"], [image, joined(text, image, 0.75), text], strict=True
    ):
        assert row == pytest.approx(expected, abs=1e-6)


def test_a_failed_image_of_a_pair_is_an_error_at_the_pairs_place(ask: Ask) -> None:
    items = [{"text": "a fox", "url": "data:image/png;base64,AAAA"}, {"text": "a fox"}]
    body = post(ask, "/embed/items", {"items": items, "on_error": "null"})
    assert [row is None for row in body["embeddings"]] == [True, False]
    assert [(error["index"], error["code"]) for error in body["errors"]] == [(0, "not_an_image")]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({}, "neither text nor url"),
        ({"text": "a", "weights": {"text": 1, "image": 1}}, "both text and url"),
        ({"text": "a", "url": FOX, "weights": {"text": 0, "image": 0}}, "are both 0"),
        ({"text": "a", "url": FOX, "weights": {"text": -1, "image": 1}}, "is -1"),
    ],
)
def test_an_item_that_cannot_be_embedded_is_refused_by_name(
    ask: Ask, item: object, words: str
) -> None:
    answer = ask("/embed/items", method="POST", json={"items": [{"text": "a fox"}, item]})
    assert answer.status_code == 400
    assert words in (answer.json or {})["detail"]
    assert "items[1]" in (answer.json or {})["detail"]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"text": "a fox"}, "text"),
        ({"image": BARE}, "image"),
        ({"text": "a fox", "image": FOX}, "both"),
        ({"type": "text", "text": "a fox"}, "text"),
        ({"type": "image_url", "image_url": {"url": FOX, "detail": "low"}}, "image"),
        ({"type": "image_url", "image_url": FOX}, "image"),
        (
            {
                "content": [
                    {"type": "image_url", "image_url": {"url": FOX}},
                    {"type": "text", "text": "a fox"},
                ]
            },
            "both",
        ),
    ],
)
def test_openais_route_reads_items_as_multimodal_callers_write_them(
    ask: Ask, given: object, kind: str
) -> None:
    text, image = native(ask)
    expected = {"text": text, "image": image, "both": joined(text, image)}[kind]
    for body in ({"input": given}, {"input": ["a fox", given]}):
        data = post(ask, "/v1/embeddings", body)["data"]
        assert data[-1]["embedding"] == pytest.approx(expected, abs=1e-6)


def test_voyages_and_nvidias_words_are_accepted_where_they_change_nothing(ask: Ask) -> None:
    text, _ = native(ask)
    voyage = {"input_type": "query", "truncation": True, "output_dimension": 256}
    nvidia = {"input_type": "passage", "truncate": "END"}
    accepted: list[dict[str, Any]] = [voyage, nvidia, dict.fromkeys([*voyage, *nvidia])]
    for given in accepted:
        (row,) = post(ask, "/v1/embeddings", {"input": ["a fox"], **given})["data"]
        assert row["embedding"] == pytest.approx(text, abs=1e-6)
    for name, value, words in (
        ("output_dimension", 128, "but the model has 256"),
        ("truncation", False, "truncation is false, expected true"),
        ("truncate", "NONE", "truncate is \"NONE\", expected true or 'END'"),
        ("input_type", "image", 'input_type is "image"'),
    ):
        refused = ask("/v1/embeddings", method="POST", json={"input": "a fox", name: value})
        assert refused.status_code == 400
        error = (refused.json or {})["error"]
        assert error["param"] == name
        assert words in error["message"]


def test_jinas_words_are_accepted_where_they_change_nothing_and_refused_by_name_elsewhere(
    ask: Ask,
) -> None:
    text, image = native(ask)
    body = {
        "input": [{"text": "a fox"}, {"image": BARE}],
        "embedding_type": "float",
        "normalized": True,
        "task": "retrieval.passage",
        "dimensions": 256,
        "late_chunking": False,
        "return_multivector": False,
        "truncate": True,
    }
    rows = [item["embedding"] for item in post(ask, "/v1/embeddings", body)["data"]]
    assert np.array(rows) == pytest.approx(np.array([text, image]), abs=1e-6)
    packed = post(ask, "/v1/embeddings", {"input": "a fox", "embedding_type": "ubinary"})["data"][
        0
    ]["embedding"]
    same = post(ask, "/v1/embeddings", {"input": "a fox", "output_dtype": "ubinary"})["data"][0][
        "embedding"
    ]
    assert packed == same
    for name, value in {
        "normalized": False,
        "late_chunking": True,
        "task": "code",
        "embedding_type": "int4",
    }.items():
        refused = ask("/v1/embeddings", method="POST", json={"input": "a fox", name: value})
        assert (refused.status_code, (refused.json or {})["error"]["param"]) == (400, name)
        assert (refused.json or {})["detail"] == (refused.json or {})["error"]["message"]


def test_token_ids_are_refused_with_langchains_setting(ask: Ask) -> None:
    for ids in ([[64, 39935]], [64, 39935]):
        answer = ask("/v1/embeddings", method="POST", json={"input": ids}).json or {}
        assert "check_embedding_ctx_length=False" in answer["error"]["message"]


def test_coheres_lists_get_the_native_vectors_in_each_type(ask: Ask) -> None:
    text, image = native(ask)
    kinds = ["float", "int8", "base64"]
    body = post(ask, "/v2/embed", {"model": "demo", "texts": ["a fox"], "embedding_types": kinds})
    assert list(body["embeddings"]) == kinds
    assert body["embeddings"]["float"][0] == pytest.approx(text, abs=1e-6)
    packed = np.frombuffer(base64.b64decode(body["embeddings"]["base64"][0]), np.float32)
    assert packed == pytest.approx(text, abs=1e-6)
    pictures = post(ask, "/v2/embed", {"images": [FOX], "input_type": "image"})
    assert pictures["embeddings"]["float"][0] == pytest.approx(image, abs=1e-6)
    assert pictures["meta"]["billed_units"] == {"input_tokens": 0, "images": 1}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "give one of texts, images and inputs"),
        ({"texts": ["a"], "images": [FOX]}, 400, "texts and images"),
        (
            {"texts": ["a " * 500], "truncate": "NONE"},
            400,
            "texts[0] is longer than the model's context",
        ),
        ({"texts": ["a"], "output_dimension": 64}, 400, "the model has 256"),
        ({"texts": ["a"], "model": "embed-v4.0"}, 404, "not served here"),
        ({"images": ["data:image/png;base64,AAAA"]}, 422, "images[0]: not a supported image"),
    ],
)
def test_coheres_errors_have_its_shape(ask: Ask, body: object, status: int, words: str) -> None:
    answer = ask("/v2/embed", method="POST", json=body)
    assert answer.status_code == status
    assert list(answer.json or {}) == ["message"]
    assert words in (answer.json or {})["message"]


def predict(ask: Ask, entries: object, **fields: Any) -> Any:
    form = {"entries": json.dumps(entries), **fields}
    return ask("/predict", method="POST", data=form, content_type="multipart/form-data")


def test_immichs_server_gets_vectors_and_an_images_size(ask: Ask) -> None:
    """Its form has a file named blob, or a text."""
    text, image = native(ask)
    assert ask("/ping").text == "pong"
    said = predict(
        ask,
        {"clip": {"textual": {"modelName": "demo", "options": {"language": "en"}}}},
        text="a fox",
    )
    assert json.loads(said.json["clip"]) == pytest.approx(text, abs=1e-6)
    file = (io.BytesIO(picture_of("fox")), "blob")
    shown = predict(ask, {"clip": {"visual": {"modelName": "demo"}}}, image=file).json
    assert json.loads(shown["clip"]) == pytest.approx(image, abs=1e-6)
    assert (shown["imageWidth"], shown["imageHeight"]) == (64, 64)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (
            {"facial-recognition": {"detection": {"modelName": "buffalo_l"}}},
            "entries.facial-recognition is not a known field; the fields are clip",
        ),
        ({"ocr": {"detection": {"modelName": "PP-OCRv5_mobile"}}}, "entries.ocr is not a known"),
        ({"clip": {"visual": {"modelName": "ViT-L-14__openai"}}}, "is not served here"),
        ({"clip": {}}, "entries.clip has neither textual nor visual, or both"),
        ({"clip": {"textual": {}}}, "entries.clip.textual.modelName is required"),
        ({"clip": {"textual": 3}}, "entries.clip.textual is a number, expected an object"),
        ({}, "entries.clip is required"),
        ([], "entries is a list, expected an object"),
    ],
)
def test_immich_goes_to_its_next_url_for_what_is_not_served_here(
    ask: Ask, entries: object, words: str
) -> None:
    answer = predict(ask, entries, text="a fox")
    assert answer.status_code in (400, 404)  # after any status that is no success it does
    assert list(answer.json) == ["detail"]
    assert words in answer.json["detail"]


def test_immich_may_call_a_model_by_its_own_name() -> None:
    assert "ViT-B-32__laion400m_e32" in names_of("clip")
    assert "XLM-Roberta-Large-Vit-B-16Plus" in names_of("mclip")
    assert "ViT-B-32__laion2b-s34b-b79k" in names_of("ViT-B-32/laion2b_s34b_b79k")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/embed/text", {"texts": ["a fox"]}),
        ("/embed/items", {"items": [{"url": FOX}]}),
        ("/v1/embeddings", {"input": "a fox"}),
        ("/v2/embed", {"texts": ["a fox"]}),
        ("/vectorize", {"texts": ["a fox"], "images": []}),
        ("/bigquery", {"calls": [["a fox"]]}),
    ],
)
def test_answers_with_vectors_name_the_fingerprint_and_another_expectation_is_refused(
    ask: Ask, path: str, body: object
) -> None:
    post(
        ask, "/embed/mixed", {"texts": ["a"], "urls": [FOX]}
    )  # both towers are there, so it is known
    own = ask(path, method="POST", json=body).headers["X-Embedding-Fingerprint"]
    assert own == (ask("/v1/models").json or {})["data"][0]["fingerprint"]
    assert (
        ask(path, method="POST", json=body, headers={"X-Expect-Fingerprint": own}).status_code
        == 200
    )
    refused = ask(path, method="POST", json=body, headers={"X-Expect-Fingerprint": "0" * 16})
    assert refused.status_code == 409
    assert own in refused.text
    assert "X-Embedding-Fingerprint" not in refused.headers
    assert f'fingerprint="{own}"' in ask("/metrics").text


def test_an_expected_fingerprint_is_checked_by_a_function_that_has_loaded_nothing() -> None:
    cold = asking()
    headers = {"X-Expect-Fingerprint": "0" * 16}
    assert (
        cold("/embed/text", method="POST", json={"texts": ["a"]}, headers=headers).status_code
        == 409
    )
    assert 'kind="text"' not in cold("/metrics").text


def test_a_preflight_allows_the_headers_that_a_page_of_an_allowed_origin_asks_for() -> None:
    pages = asking(cors_origins=("https://app.example",))
    wanted = "authorization,content-type,traceparent,x-stainless-arch,x-stainless-retry-count"
    headers = {"Origin": "https://app.example", "Access-Control-Request-Headers": wanted}
    allowed = pages("/v1/embeddings", method="OPTIONS", headers=headers)
    assert allowed.headers["Access-Control-Allow-Headers"] == wanted
    foreign = pages(
        "/v1/embeddings", method="OPTIONS", headers=headers | {"Origin": "https://evil.example"}
    )
    assert not [name for name, _ in foreign.headers if name.startswith("Access-Control")]
    odd = pages(
        "/v1/embeddings",
        method="OPTIONS",
        headers=headers | {"Access-Control-Request-Headers": "a b;"},
    )
    assert "Authorization" in odd.headers["Access-Control-Allow-Headers"]


def test_a_protocol_that_is_not_chosen_is_neither_served_nor_documented() -> None:
    few = asking(protocols=("openai",))
    assert few("/v1/models").status_code == 200
    for path in ("/v2/embed", "/vectorize", "/bigquery", "/predict"):
        assert few(path, method="POST", json={}).status_code == 404
    tags = [tag["name"] for tag in (few("/openapi.json").json or {})["tags"]]
    assert tags == ["Embedding", "OpenAI", "Operation"]
    assert Settings.from_env({"CLIP_PROTOCOLS": "weaviate, immich"}).protocols == (
        "weaviate",
        "immich",
    )
    with pytest.raises(SettingsError, match="CLIP_PROTOCOLS"):
        Settings.from_env({"CLIP_PROTOCOLS": "openia"})
