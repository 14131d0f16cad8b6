"""BigQuery remote functions: BigQuery's requests, and the answers when it sends too much."""

import base64
import json
from typing import Any

import numpy as np
import pytest
import requests
from numpy.typing import NDArray

from export.emoji import names
from functions.bigquery import MAX_ANSWER_BYTES
from functions.schemas import MAX_IMAGES
from tests.e2e.cost import send
from tests.e2e.server import Server
from tests.image_urls import FOX, PIZZA

ALLOWED_MB = 150  # for 12,000 rows, over what the process has in calm

# The request as Google documents it. A scheduled query has no user, and a function without a
# context sends none.
FROM_A_QUERY = """
{
  "requestId": "124ab1c",
  "caller": "//bigquery.googleapis.com/projects/myproject/jobs/\
myproject:US.bquxjob_5b4c112c_17961fafeaf",
  "sessionUser": "test-user@test-company.com",
  "userDefinedContext": {"input": "text", "encoding": "json"},
  "calls": [["a fox"], [null], ["a pizza"]]
}"""
FROM_A_SCHEDULED_QUERY = """
{
  "requestId": "1a2b3c",
  "caller": "//bigquery.googleapis.com/projects/myproject/jobs/myproject:US.scheduled_query_66",
  "calls": [["a fox"]]
}"""


def post(server: Server, body: str) -> requests.Response:
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Authorization": "Bearer an-identity-token",
    }
    return requests.post(server.url + "/bigquery", body.encode(), headers=headers, timeout=90)


def remote(calls: object, **context: str) -> dict[str, Any]:
    """A request with these rows."""
    query: dict[str, Any] = json.loads(FROM_A_QUERY)
    return query | {"calls": calls, "userDefinedContext": context}


def replies(server: Server, calls: object, **context: str) -> list[str | None]:
    response = server.post("/bigquery", remote(calls, **context))
    assert response.status_code == 200, response.text
    assert list(response.json()) == ["replies"]
    return list(response.json()["replies"])


def refusal(response: requests.Response, status: int = 400) -> str:
    """The message of an answer that BigQuery reports as an error; it shows at most 1 KB."""
    assert response.status_code == status, response.text
    assert list(response.json()) == ["errorMessage"]
    message = str(response.json()["errorMessage"])
    assert 0 < len(message.encode()) < 1024
    return message


def from_json(reply: str | None) -> NDArray[np.float64]:
    return np.array(json.loads(reply or ""))


def from_base64(reply: str | None) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(reply or ""), "<f4")


def words(count: int) -> list[Any]:
    """`count` rows, no two of them equal."""
    return [[f"{names()[n % 400]['en'].split()[0]}{n // 400}"] for n in range(count)]


def test_a_query_gets_a_reply_a_row_null_for_null(demo: Server) -> None:
    response = post(demo, FROM_A_QUERY)
    assert response.status_code == 200
    fox, null, pizza = response.json()["replies"]
    assert null is None
    for reply, expected in zip([fox, pizza], demo.vectors(texts=["a fox", "a pizza"]), strict=True):
        assert from_json(reply) @ np.array(expected) == pytest.approx(1, abs=1e-6)
    (same,) = post(demo, FROM_A_SCHEDULED_QUERY).json()["replies"]
    assert same == fox, "a request that is sent again gets the same reply"


def test_base64_holds_the_same_vectors(demo: Server) -> None:
    (numbers,) = replies(demo, [["a fox"]])
    (octets,) = replies(demo, [["a fox"]], encoding="base64")
    np.testing.assert_array_equal(from_base64(octets), from_json(numbers).astype(np.float32))


def test_a_malformed_row_is_null_and_harms_no_other(demo: Server) -> None:
    rows = [
        ["a fox"],
        [],
        ["a", "b"],
        [3],
        [True],
        [["a"]],
        [{"a": 1}],
        "a",
        None,
        3,
        {"a": 1},
        ["a" * 100_001],
        [""],
    ]
    given = replies(demo, [*rows, ["a fox"]])
    assert [place for place, reply in enumerate(given) if reply is not None] == [0, 12, 13]
    assert given[0] == given[13]


def test_images_keep_their_rows_and_a_failed_one_is_null(demo: Server) -> None:
    rows = [[FOX], ["http://10.0.0.1/a.png"], [None], [PIZZA.partition(",")[2]], [""]]
    given = replies(demo, rows, input="image", encoding="base64")
    assert [reply is None for reply in given] == [False, True, True, False, True]
    for reply, expected in zip([given[0], given[3]], demo.vectors(urls=[FOX, PIZZA]), strict=True):
        assert from_base64(reply) @ np.array(expected) == pytest.approx(1, abs=1e-6)


def test_on_error_fail_names_the_row_and_is_not_tried_again(demo: Server) -> None:
    rows = [[None], [FOX], ["http://10.0.0.1/a.png"]]
    failed = demo.post("/bigquery", remote(rows, input="image", on_error="fail"))
    assert refusal(failed, 422).startswith("row 2: ")


def test_an_empty_batch_has_no_replies(demo: Server) -> None:
    assert replies(demo, []) == []
    assert replies(demo, [[None]] * 3) == [None] * 3


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "calls is required"),
        ({"calls": "a"}, "calls is a string, expected a list"),
        ([], "expected a JSON object"),
        (remote([["a"]], input="video"), 'input is "video"'),
        (remote([["a"]], colour="red"), "colour is not a known field"),
        (remote([["a"]], **{"x" * 5000: "y" * 5000}), "is not a known field"),
    ],
)
def test_a_bad_envelope_is_400_which_is_not_tried_again(
    demo: Server, body: object, words: str
) -> None:
    assert words in refusal(demo.post("/bigquery", body))


def test_12_000_words_are_refused_with_the_advice_before_anything_is_embedded(demo: Server) -> None:
    body = json.dumps(remote(words(12_000))).encode()
    response, seconds, grown_mb = send(demo, "/bigquery", body)
    print(f"12,000 refused: {seconds:.2f} s, +{grown_mb:.0f} MB")
    message = refusal(response)
    assert "14,000,000" in message
    assert "max_batching_rows" in message
    assert "encode" not in response.headers["Server-Timing"]
    assert grown_mb < ALLOWED_MB


def test_as_many_words_as_an_answer_can_hold_are_answered_within_bounds(demo: Server) -> None:
    rows = [
        *words(9_900),
        *[[None]] * 2_100,
    ]  # 12,000 calls; 9,900 vectors of 256 dimensions in base64
    body = json.dumps(remote(rows, encoding="base64")).encode()
    response, seconds, grown_mb = send(demo, "/bigquery", body)
    print(f"12,000 answered: {seconds:.2f} s, +{grown_mb:.0f} MB, {len(response.content):,} bytes")
    assert response.status_code == 200
    given = response.json()["replies"]
    assert [reply is None for reply in given] == [row == [None] for row in rows]
    assert len(response.content) < MAX_ANSWER_BYTES * 1.01
    assert grown_mb < ALLOWED_MB
    expected = demo.vectors(texts=rows[9_899])[0]
    assert from_base64(given[9_899]) @ np.array(expected) == pytest.approx(
        1, abs=1e-3
    )  # batches differ, int8 a little


def test_an_answer_that_proves_too_large_is_refused_with_the_advice(demo: Server) -> None:
    """Short of the estimate, and yet too large as text: 256 numbers of some 11 letters a row."""
    assert "max_batching_rows" in refusal(demo.post("/bigquery", remote(words(6_500))))


def test_more_images_than_a_request_can_bear_are_refused_with_the_advice(demo: Server) -> None:
    message = refusal(demo.post("/bigquery", remote([[FOX]] * (MAX_IMAGES + 1), input="image")))
    assert "257 images" in message
    assert "max_batching_rows" in message
    assert replies(demo, [[None]] * 12_000, input="image") == [None] * 12_000
