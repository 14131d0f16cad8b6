"""The function serves an engine, an image source and a protocol that only this test has."""

from typing import Any

from flask import Request
from werkzeug.test import Client

from common import ImageUrl, Text, open_embedder
from common.config import Settings
from export.emoji import picture_of
from functions import schemas
from functions.auth import ApiKeys
from functions.call import Call
from functions.counters import Counters
from functions.protocols import speaking
from functions.route import Answer, Body, Protocol, Route
from functions.router import Router
from functions.service import Service
from tests.album import Album
from tests.fake_engine import FakeEngine


class Pairs(schemas.Request):
    """Captions by the names of their images."""

    captions: dict[str, str]


def cosines(body: Pairs, call: Call) -> dict[str, float]:
    """How well each caption fits its image."""
    names = list(body.captions)
    images: list[Text | ImageUrl] = [ImageUrl(f"album:{name}") for name in names]
    vectors = call.embed(images + [Text(body.captions[name]) for name in names]).vectors
    found = (vectors[: len(names)] * vectors[len(names) :]).sum(axis=1)
    return dict(zip(names, found.tolist(), strict=True))


CAPTIONS = Protocol(
    "Captions",
    "Fits captions to the images of an album.",
    (Route("POST", "/captions", cosines, Answer(dict[str, float]), Body(Pairs)),),
)


def test_one_object_each_is_enough() -> None:
    """The fake engine gives every image, and each text of 4 or 8 letters, the same vector."""
    album = Album({"fox": picture_of("fox"), "cat": picture_of("cat")})
    embedder = open_embedder("demo", engine="fake", engines=[FakeEngine()], sources=[album])
    with embedder:
        service = Service(Settings.from_env({}), embedder, ApiKeys(()), Counters())
        router = Router(service, (*speaking(()), CAPTIONS))
        application: Any = Request.application(router.dispatch)  # type: ignore[arg-type] # flask's
        ask = Client(application).post
        fitting = ask("/captions", json={"captions": {"fox": "four", "cat": "three"}})
        assert (fitting.status_code, fitting.json) == (200, {"fox": 1, "cat": 0})
        native = ask("/embed/image", json={"urls": ["album:cat", "album:dog"]})
        assert native.json is not None
        assert native.json["indices"] == [0]
        assert native.json["errors"][0]["detail"] == "no image 'dog' in the album"
