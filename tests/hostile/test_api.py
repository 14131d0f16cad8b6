"""For any request, the answer follows the contract and is never a 500."""

import copy
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from functions.envelopes import PROBLEM, Envelope
from tests.contract import check_contract
from tests.e2e.server import Server
from tests.image_server import picture
from tests.image_urls import data_url
from tests.spoken import ROUTES

PICTURE = data_url(picture(size=(40, 30)))
VALID: dict[str, dict[str, Any]] = {
    "/embed/text": {
        "texts": ["a fox", "a pizza"],
        "encoding_format": "float",
        "output_dtype": "int8",
    },
    "/embed/image": {"urls": [PICTURE, "http://127.0.0.1:9/gone.png"], "on_error": "null"},
    "/embed/mixed": {"texts": ["a fox"], "urls": [PICTURE], "encoding_format": "base64"},
    "/embed/items": {
        "items": [
            {"url": PICTURE},
            {"text": "a fox", "url": PICTURE, "weights": {"text": 1, "image": 2}},
        ]
    },
    "/v2/embed": {
        "inputs": [{"content": [{"type": "text", "text": "a fox"}]}],
        "truncate": "END",
    },
    "/rank": {
        "query": {"text": "a fox"},
        "candidates": [{"url": PICTURE}, {"text": "a pizza"}],
        "top_k": 2,
    },
    "/v1/embeddings": {
        "input": ["a fox", {"image": PICTURE}],
        "model": "demo",
        "encoding_format": "base64",
    },
    "/vectorize": {"texts": ["a fox"], "images": [PICTURE.partition(",")[2]]},
    "/bigquery": {
        "calls": [["a fox"], [None]],
        "userDefinedContext": {"encoding": "base64"},
        "requestId": "1",
    },
}
PATHS = [
    *VALID,
    *(route.path for route in ROUTES),
    "/embed",
    "/embed/text/x",
    "//",
    "/%00",
    "/embed/text/",
    "/é",
]
METHODS = ["POST"] * 6 + ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "QUERY"]
TYPES = ["application/json"] * 8 + [
    "",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "é",
    "a/b;c",
]
EXPECTED = {200, 204, 400, 404, 405, 413, 415, 422}
CODES = {
    "invalid_request",
    "not_found",
    "method_not_allowed",
    "too_large",
    "unsupported_media_type",
    "image_failed",
}
FIELDS = "texts urls on_error output_dtype extra input calls images query model".split()
STRINGS = [
    "",
    " ",
    "\x00",
    "😀" * 50,
    "a" * 3000,
    "data:,",
    "data:image/png;base64,",
    "http://",
    "gs://b/o",
    "</s>",
    "int8",
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.sampled_from([*STRINGS, PICTURE]),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abtexurls", max_size=5), inner, max_size=3)
    ),
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of everything inside `value`, itself too."""
    inner: Any = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(place for key, part in inner for place in places(part, (*path, key)))]


@st.composite
def bodies(draw: st.DrawFn, valid: dict[str, Any]) -> bytes:
    """A valid body, one with something else at some place, or bytes that are hardly JSON."""
    body: Any = copy.deepcopy(valid)
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.sampled_from(places(body)))
        new = draw(values)
        if not place:
            body = new
            continue
        parent = body
        for key in place[:-1]:
            parent = parent[key]
        if draw(st.booleans()):
            parent[place[-1]] = new
        elif isinstance(parent, dict):
            parent[draw(st.sampled_from(FIELDS))] = new
        else:
            parent.append(new)
    text = json.dumps(body, ensure_ascii=draw(st.booleans())).encode()
    if draw(st.integers(0, 4)) == 0:
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(
            st.binary(max_size=6) | st.sampled_from([b"NaN", b"1e999", b'"\\ud800"', b"{" * 2000])
        )
    return text


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, str, bytes, dict[str, str]]:
    path = draw(st.sampled_from(PATHS))
    body = draw(bodies(VALID.get(path, {"texts": ["a"]})))
    headers = {"Content-Type": draw(st.sampled_from(TYPES)).encode("utf-8").decode("latin-1")}
    if draw(st.integers(0, 9)) == 0:
        name = draw(
            st.sampled_from(
                ["Accept", "X-Request-Id", "traceparent", "Content-Encoding", "Expect", "Origin"]
            )
        )
        headers[name] = draw(
            st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=40)
        ).strip()
    return draw(st.sampled_from(METHODS)), path, body, headers


def check(path: str, response: requests.Response) -> None:
    """That the answer is one of those in the contract."""
    assert response.status_code in EXPECTED, response.text
    assert response.headers["X-Request-Id"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    if response.request.method == "HEAD" or response.status_code == 204:
        assert response.content == b""
        return
    method = response.request.method or ""
    matching = [route for route in ROUTES if route.match(path.rstrip("/") or "/") is not None]
    own = [route for route in matching if route.method == method]
    route = next(reversed(own or matching), None)
    if route and own:
        check_contract(route.path, response)
    if response.status_code == 200:
        if path.strip("/").startswith("embed/"):
            check_vectors(orjson.loads(response.content))
    else:
        check_error(route.envelope if route else PROBLEM, response)


def check_error(envelope: Envelope, response: requests.Response) -> None:
    """That an error is in its route's own envelope, and tells nothing that it must not."""
    assert response.headers["Content-Type"] == envelope.content_type
    error = orjson.loads(response.content)
    if envelope is PROBLEM:
        assert error["status"] == response.status_code
        assert error["code"] in CODES
    assert not any(
        secret in response.text for secret in ("Traceback", "site-packages", "object at 0x")
    )


def check_vectors(answer: dict[str, Any]) -> None:
    """Rows, indices and errors of an answer belong together."""
    assert (answer["model"], answer["dimensions"]) == ("demo", 256)
    rows: list[Any] = (
        answer["image_embeddings"] if "image_embeddings" in answer else answer["embeddings"]
    )
    if "indices" in answer:
        assert len(rows) == len(answer["indices"])
        failed = {error["index"] for error in answer["errors"]}
        for row, index in zip(rows, answer["indices"], strict=True):
            assert (row is None) == (index in failed)
    for row in [*rows, *answer.get("text_embeddings", [])]:
        assert row is None or isinstance(row, str) or len(row) in (256, 32)


def test_every_answer_is_one_of_the_contract(
    demo: Server, effort: Callable[[int, int], int]
) -> None:
    seen = Counter[int]()
    with requests.Session() as session:

        @settings(
            max_examples=effort(300, 6000),
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(calls())
        def call(generated: tuple[str, str, bytes, dict[str, str]]) -> None:
            method, path, body, headers = generated
            response = session.request(
                method, demo.url + path, data=body, headers=headers, timeout=30
            )
            seen[response.status_code] += 1
            check(path, response)

        call()
    print(dict(seen))
    assert {200, 400, 404, 405, 415} <= set(seen)
    assert demo.get("/health").json()["status"] == "healthy"
