"""Bodies that real clients send, through every route that reads them."""

import base64
import gzip
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import requests

from export.emoji import picture_of
from functions.schemas import MAX_BODY_BYTES
from tests.e2e.server import Server

PNG = picture_of("fox")
FOX = base64.b64encode(PNG).decode()
Write = Callable[[str], str]
BARE: dict[str, Write] = {
    "line breaks": lambda text: base64.encodebytes(base64.b64decode(text)).decode(),
    "CRLF": lambda text: text[:76] + "\r\n" + text[76:],
    "trailing newline": lambda text: text + "\n",
    "leading spaces": lambda text: "  " + text,
    "URL-safe": lambda text: text.replace("+", "-").replace("/", "_").rstrip("="),
}
ESCAPED: dict[str, Write] = {
    "percent": lambda text: text.replace("+", "%2B").replace("/", "%2f").replace("=", "%3D"),
    "escaped line breaks": lambda text: text[:76] + "%0A" + text[76:] + "%0D%0A",
}
JUNK: dict[str, Write] = {
    "quotes": lambda text: f'"{text}"',
    "foreign characters": lambda text: text[:9] + "*\u200b" + text[9:],
}


def expected(demo: Server) -> Any:
    body = {"urls": ["data:image/png;base64," + FOX]}
    return np.array(demo.post("/embed/image", body).json()["embeddings"][0])


@pytest.mark.parametrize("write", [*BARE.values(), *ESCAPED.values()], ids=[*BARE, *ESCAPED])
@pytest.mark.parametrize("head", ["data:image/png;base64,", " data:image/png; base64,"])
def test_data_urls_are_read_as_browsers_read_them(demo: Server, head: str, write: Write) -> None:
    answer = demo.post("/embed/image", {"urls": [head + write(FOX)]}).json()
    assert answer["errors"] == []
    assert answer["embeddings"][0] @ expected(demo) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("write", [*BARE.values(), *JUNK.values()], ids=[*BARE, *JUNK])
def test_bare_base64_is_read_as_weaviates_container_reads_it(demo: Server, write: Write) -> None:
    (vector,) = demo.post("/vectorize", {"images": [write(FOX)]}).json()["imageVectors"]
    assert vector @ expected(demo) == pytest.approx(1, abs=1e-5)
    context = {"input": "image", "encoding": "base64"}
    rows = {"calls": [[write(FOX)]], "userDefinedContext": context}
    (reply,) = demo.post("/bigquery", rows).json()["replies"]
    given = np.frombuffer(base64.b64decode(reply), "<f4")
    assert given @ expected(demo) == pytest.approx(1, abs=1e-5)


def test_bare_base64_for_a_url_is_told_what_it_is(demo: Server) -> None:
    for bare in (FOX, FOX[:40], "\n" + FOX):
        (error,) = demo.post("/embed/image", {"urls": [bare]}).json()["errors"]
        assert error["code"] == "invalid_url"
        assert "bare base64" in error["detail"]
    (error,) = demo.post("/embed/image", {"urls": ["//example.com/a.png"]}).json()["errors"]
    assert "base64" not in error["detail"]


def test_a_form_embeds_its_files_and_then_its_urls(demo: Server) -> None:
    files: Any = [("files", ("fox.png", PNG)), ("files", ("notes.txt", b"no image", "text/plain"))]
    url = "data:image/png;base64," + FOX
    fields: Any = {"urls": [url, "ftp://example.com/a"], "on_error": "null"}
    answer = requests.post(demo.url + "/embed/image", fields, files=files, timeout=60).json()
    rows = answer["embeddings"]
    assert [row is None for row in rows] == [False, True, False, True]
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-6)
    named = [(error["index"], error["url"]) for error in answer["errors"]]
    assert named == [(1, "notes.txt"), (3, "ftp://example.com/a")]
    fields["on_error"] = "fail"
    failed = requests.post(demo.url + "/embed/image", fields, files=files, timeout=60)
    assert failed.status_code == 422
    assert [error["loc"] for error in failed.json()["errors"]] == [["files", 1], ["urls", 1]]


def test_half_an_emoji_costs_no_batch(demo: Server) -> None:
    headers = {"Content-Type": "application/json"}
    body = b'\xef\xbb\xbf{"texts": ["a fox", "a pizza \\ud83d", "a cat \xed\xa0\xbd"]}'
    answer = requests.post(demo.url + "/embed/text", body, headers=headers, timeout=60)
    mended = {"texts": ["a fox", "a pizza \ufffd", "a cat \ufffd"]}
    assert answer.json()["embeddings"] == demo.post("/embed/text", mended).json()["embeddings"]


def test_gzip_bodies_are_unpacked_and_their_memory_is_given_back(demo: Server) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    bomb = gzip.compress(bytes(MAX_BODY_BYTES + 1), 1)
    with requests.Session() as session:
        for _ in range(3):  # two of them reserve all memory of bodies
            refused = session.post(demo.url + "/embed/text", bomb, headers=headers, timeout=60)
            assert refused.status_code == 413
            assert "when unpacked" in refused.json()["detail"]
        packed = gzip.compress(b'{"texts": ["a fox"]}')
        answer = session.post(demo.url + "/embed/text", packed, headers=headers, timeout=60)
    assert answer.json() == demo.post("/embed/text", {"texts": ["a fox"]}).json()


def test_an_openai_input_that_is_a_data_url_of_an_image_is_an_image(demo: Server) -> None:
    url = "data:image/png;base64," + FOX

    def first(**body: object) -> Any:
        return demo.post("/v1/embeddings", body).json()["data"][0]["embedding"]

    for given in (url, [url], [" " + url.replace("data:image", "DATA:IMAGE"), "a fox"]):
        assert first(input=given) @ expected(demo) == pytest.approx(1, abs=1e-5)
    assert first(input=[url], modality=None) @ expected(demo) == pytest.approx(1, abs=1e-5)
    text = demo.post("/embed/text", {"texts": [url]}).json()["embeddings"][0]
    np.testing.assert_allclose(first(input=url, modality="text"), text, atol=1e-3)
    talk = "data:image/png, that is how a data: URL of a PNG begins"
    text = demo.post("/embed/text", {"texts": [talk]}).json()["embeddings"][0]
    np.testing.assert_allclose(first(input=talk), text, atol=1e-6)
