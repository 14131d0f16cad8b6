"""Sixteen callers send good and bad requests: all answers are right, and memory stays flat."""

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import requests

from export.emoji import names, picture_at
from tests.e2e.cost import resident, worker_of
from tests.e2e.server import Server, serve
from tests.hostile.seeds import png_bomb, seeds
from tests.image_server import ImageServer
from tests.image_urls import data_url

CALLERS = 16
POOL = 40  # different texts and images
CLOSE = 0.999  # cosine: a text beside others in a batch


class Mix:
    """Requests of all kinds, each with a check of its answer.

    Vectors are compared with those of a calm server.
    """

    def __init__(self, server: Server, images: ImageServer) -> None:
        self.server = server
        self.images = images
        self.texts = [entry["en"] for entry in names()[:POOL]]
        self.urls = [images.serve(f"/{place}.png", picture_at(place)) for place in range(POOL)]
        images.serve("/bomb.png", png_bomb(9000, 9000, 2))
        self.text_vectors = server.post("/embed/text", {"texts": self.texts}).json()["embeddings"]
        self.image_vectors = server.post("/embed/image", {"urls": self.urls}).json()["embeddings"]
        self.broken = [data_url(data[: len(data) * 2 // 3]) for data in seeds().values()]
        self.local = threading.local()

    def post(self, path: str, body: object) -> requests.Response:
        if not hasattr(self.local, "session"):
            self.local.session = requests.Session()
        response: requests.Response = self.local.session.post(
            self.server.url + path, json=body, timeout=300
        )
        self.local.answer = f"{response.status_code} {response.text[:200]}"
        return response

    def text(self, draw: random.Random) -> bool:
        places = draw.choices(range(POOL), k=draw.randint(1, 12))
        answer = self.post("/embed/text", {"texts": [self.texts[place] for place in places]}).json()
        return same(answer["embeddings"], [self.text_vectors[place] for place in places])

    def image(self, draw: random.Random) -> bool:
        places = draw.choices(range(POOL), k=draw.randint(1, 3))
        answer = self.post("/embed/image", {"urls": [self.urls[place] for place in places]}).json()
        return same(answer["embeddings"], [self.image_vectors[place] for place in places])

    def mixed(self, draw: random.Random) -> bool:
        """One good image between bad ones."""
        place, bad = draw.randrange(POOL), draw.choice(self.broken)
        urls = [
            bad,
            self.urls[place],
            self.images.url + draw.choice(["/html", "/no", "/broken", "/bomb.png", "/loop"]),
        ]
        answer = self.post("/embed/mixed", {"texts": [self.texts[place]], "urls": urls}).json()
        kept = dict(zip(answer["indices"], answer["image_embeddings"], strict=True))
        return (
            same([kept[1]], [self.image_vectors[place]])
            and same(answer["text_embeddings"], [self.text_vectors[place]])
            and {error["index"] for error in answer["errors"]} >= {2}
        )

    def blocked(self, draw: random.Random) -> bool:
        urls = [
            f"http://10.{draw.randrange(256)}.0.1/",
            "http://169.254.169.254/",
            "ftp://example.com/",
        ]
        answer = self.post("/embed/image", {"urls": urls}).json()
        return [error["code"] for error in answer["errors"]] == [
            "blocked_url",
            "blocked_url",
            "invalid_url",
        ]

    def refused(self, draw: random.Random) -> bool:
        bodies: list[Any] = [
            {"texts": []},
            {"texts": [draw.random()]},
            {"urls": ["a"]},
            [],
            "a",
            {"texts": ["a"] * 2049},
        ]
        return self.post("/embed/text", draw.choice(bodies)).status_code == 400

    def unknown(self, draw: random.Random) -> bool:
        return self.post(f"/{draw.random()}", {}).status_code == 404

    def run(self, number: int) -> str:
        """The kind of the request, with what is wrong about its answer, if anything is."""
        draw = random.Random(number)
        kind = draw.choices(
            (self.text, self.image, self.mixed, self.blocked, self.refused, self.unknown),
            (40, 20, 15, 5, 15, 5),
        )[0]
        try:
            is_right = kind(draw)
        except (KeyError, ValueError, requests.RequestException) as error:
            return f"{kind.__name__} wrong: {error!r}, after {self.local.answer}"
        return kind.__name__ + ("" if is_right else f" wrong: {self.local.answer}")


def same(vectors: list[list[float]], expected: list[list[float]]) -> bool:
    return bool((np.sum(np.array(vectors) * np.array(expected), axis=1) > CLOSE).all())


def test_thousands_of_requests_are_answered_rightly_in_flat_memory(
    tmp_path: Path, image_server: ImageServer, effort: Callable[[int, int], int]
) -> None:
    count = effort(600, 10_000)
    with serve(
        tmp_path, CLIP_HEALTH_WAIT_S="60", CLIP_FETCH_TIMEOUT_S="30", LOG_LEVEL="ERROR"
    ) as server:
        assert server.get("/health").json()["status"] == "healthy"
        mix, worker = Mix(server, image_server), worker_of(server)
        outcomes, memory = Counter[str](), []
        with ThreadPoolExecutor(CALLERS) as pool:
            for tenth in range(10):
                numbers = range(tenth * count // 10, (tenth + 1) * count // 10)
                outcomes.update(pool.map(mix.run, numbers))
                memory.append(resident(worker) / 2**20)
        print(dict(outcomes), [round(value) for value in memory])
        assert [kind for kind in outcomes if "wrong" in kind] == []
        # Memory grows a little in the first 6,000 requests and then stays: so it did for 40,000.
        early = max(memory[:5]) if count == 10_000 else memory[1] * 1.2
        assert memory[-1] <= early * 1.05
        assert server.get("/health").json()["status"] == "healthy"
