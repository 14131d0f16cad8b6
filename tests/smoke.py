"""Check a running function from outside: `python -m tests.smoke URL [--image-url URL]`.

Waits for health, calls every route, and checks dimensions, norms, errors and ranking. The
environment variable TOKEN holds the bearer token for a function that requires one. The sample
images are inside the requests, and this script serves another one to a local function, so that no
outside network is needed. --image-url adds a public image.
"""

import argparse
import base64
import math
import operator
import os
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import requests

from export.emoji import picture_of
from tests.image_server import serving

CAPTIONS = ("a fox", "a pizza", "a guitar")
WAIT_S = 180


class Smoke:
    """The checks, each of which raises AssertionError with what it saw."""

    def __init__(self, url: str, token: str, image_url: str) -> None:
        self._url = url.rstrip("/")
        self._image_url = image_url
        self._session = requests.Session()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"
        self._dimensions = 0

    def call(self, method: str, path: str, expected: int, body: object = None) -> Any:
        """The JSON answer, whose status must be `expected`."""
        response = self._session.request(method, self._url + path, json=body, timeout=120)
        assert response.status_code == expected, (
            f"{method} {path}: {response.status_code} {response.text[:300]}"
        )
        return response.json()

    def check_health(self) -> None:
        """Healthy within three minutes, a cold start and a download included."""
        until = time.monotonic() + WAIT_S
        while True:
            response = self._session.get(self._url + "/health", timeout=120)
            if response.status_code == 200:
                break
            assert time.monotonic() < until, f"not healthy after {WAIT_S} s: {response.text[:300]}"
            time.sleep(1)
        assert response.json()["model_loaded"] is True
        self.call("GET", "/health/live", 200)

    def check_banner(self) -> None:
        """The banner names the model and its dimensions."""
        banner = self.call("GET", "/", 200)
        self._dimensions = banner["dimensions"]
        print(
            f"  {banner['model']}, {banner['dimensions']} dimensions,"
            f" fingerprint {banner['fingerprint']}"
        )

    def check_text(self) -> None:
        """Unit vectors in order."""
        vectors = self.call("POST", "/embed/text", 200, {"texts": ["a fox", "a pizza", "a fox"]})[
            "embeddings"
        ]
        self._check_vectors(vectors, 3)
        assert vectors[0] == vectors[2] != vectors[1]

    def check_image(self) -> None:
        """Unit vectors; a bad image among good ones costs one entry."""
        urls = [_data_url(CAPTIONS[0]), "data:image/png;base64,AAAA"] + (
            [self._image_url] if self._image_url else []
        )
        body = self.call("POST", "/embed/image", 200, {"urls": urls})
        self._check_vectors(body["embeddings"], len(urls) - 1)
        assert [error["code"] for error in body["errors"]] == ["not_an_image"], body["errors"]

    def check_fetching(self) -> None:
        """An image from this machine, for a local function: fetched, or blocked by the policy."""
        if urlsplit(self._url).hostname not in ("127.0.0.1", "localhost", "::1"):
            return
        with serving() as server:
            url = server.serve("/fox.png", picture_of("fox"))
            body = self.call("POST", "/embed/image", 200, {"urls": [url]})
        codes = [error["code"] for error in body["errors"]]
        assert codes in ([], ["blocked_url"]), codes
        if codes:
            print("  the address policy forbids this machine's own addresses, as it should")
        else:
            self._check_vectors(body["embeddings"], 1)

    def check_ranking(self) -> None:
        """Each image's own caption is the nearest."""
        urls = [_data_url(caption) for caption in CAPTIONS]
        body = self.call("POST", "/embed/mixed", 200, {"texts": list(CAPTIONS), "urls": urls})
        for caption, image in zip(CAPTIONS, body["image_embeddings"], strict=True):
            cosines = [sum(map(operator.mul, image, text)) for text in body["text_embeddings"]]
            best = CAPTIONS[cosines.index(max(cosines))]
            assert best == caption, f"the picture of {caption} is nearest to {best}"

    def check_errors(self) -> None:
        """Bad requests get the status and code that the contract names."""
        for method, path, body, status, code in (
            ("POST", "/embed/text", {"texts": []}, 400, "invalid_request"),
            ("POST", "/embed/image", {"urls": []}, 400, "invalid_request"),
            ("POST", "/embed/mixed", {}, 400, "invalid_request"),
            ("GET", "/embed/text", None, 405, "method_not_allowed"),
            ("GET", "/no-such-path", None, 404, "not_found"),
        ):
            problem = self.call(method, path, status, body)
            assert problem["code"] == code, problem
            assert problem["detail"], problem

    def _check_vectors(self, vectors: list[list[float]], count: int) -> None:
        assert len(vectors) == count, f"{len(vectors)} vectors, expected {count}"
        for vector in vectors:
            assert len(vector) == self._dimensions, (
                f"{len(vector)} dimensions, expected {self._dimensions}"
            )
            norm = math.hypot(*vector)
            assert abs(norm - 1) < 1e-4, f"norm {norm}"


def _data_url(caption: str) -> str:
    picture = picture_of(caption.removeprefix("a "))
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def main() -> int:
    """Run all checks; the exit status is the number that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--image-url", default="")
    arguments = parser.parse_args()
    smoke = Smoke(arguments.url, os.environ.get("TOKEN", ""), arguments.image_url)
    failed = 0
    for check in (
        smoke.check_health,
        smoke.check_banner,
        smoke.check_text,
        smoke.check_image,
        smoke.check_fetching,
        smoke.check_ranking,
        smoke.check_errors,
    ):
        name = check.__name__.removeprefix("check_")
        started = time.monotonic()
        try:
            check()
        except (AssertionError, requests.RequestException) as error:
            failed += 1
            print(f"FAIL {name}: {error}")
        else:
            print(f"ok   {name} ({(time.monotonic() - started) * 1000:.0f} ms)")
    return failed


if __name__ == "__main__":
    sys.exit(main())
