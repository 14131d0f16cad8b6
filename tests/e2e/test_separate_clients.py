"""Clients in a folder of their own: Ollama's, infinity's generated one, and its one for images."""

import base64
import importlib
import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from export.emoji import picture_of
from tests.e2e.server import Server
from tests.paths import ROOT

TEXTS = ["a fox", "a pizza"]
NAMES = ["fox", "pizza"]


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The packages of tests/clients.txt can be imported."""
    folder = tmp_path_factory.mktemp("clients")
    options: list[str | Path] = ["--quiet", "--no-deps", "--no-compile", "--target", folder]
    listed = ROOT / "tests" / "clients.txt"
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "-r", listed], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


def pictures() -> list[Image.Image]:
    return [Image.open(io.BytesIO(picture_of(name))).convert("RGB") for name in NAMES]


def url_of(image: Image.Image) -> str:
    """The image as InfinityVisionAPI sends it."""
    file = io.BytesIO()
    image.save(file, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def native(server: Server, texts: list[str], urls: list[str]) -> list[Any]:
    """The native route's vectors, each compared to within rounding."""
    body = server.post("/embed/mixed", {"texts": texts, "urls": urls}).json()
    rows = [*body["text_embeddings"], *body["image_embeddings"]]
    return [pytest.approx(row, abs=1e-6) for row in rows]


@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_infinitys_vision_client_gets_the_native_routes_vectors(
    demo: Server, clients: None, encoding: str
) -> None:
    vision = importlib.import_module("infinity_client.vision_client")
    client = vision.InfinityVisionAPI(demo.url, format=encoding, model="demo")
    with client.session, client.tp:
        images, no_tokens = client.image_embed("demo", pictures()).result(60)
        texts, tokens = client.embed("demo", TEXTS).result(60)
    urls = [url_of(picture) for picture in pictures()]
    assert [row.reshape(-1) for row in images] == native(demo, [], urls)
    assert [row.reshape(-1) for row in texts] == native(demo, TEXTS, [])
    assert (no_tokens, tokens) == (0, 8)


def test_infinitys_generated_client_with_its_defaults(demo: Server, clients: None) -> None:
    """It sends "default/not-specified" as model and 0 as dimensions."""
    infinity = importlib.import_module("infinity_client")
    models = importlib.import_module("infinity_client.models")
    urls = [url_of(picture) for picture in pictures()]
    modality = models.OpenAIEmbeddingInputImageModality.IMAGE
    with infinity.Client(base_url=demo.url) as client:

        def call(name: str, **given: Any) -> Any:
            route = importlib.import_module(f"infinity_client.api.default.{name}")
            answer = route.sync(client=client, **given)
            return [row.embedding for row in answer.data] if given else answer

        texts = call("embeddings", body=models.OpenAIEmbeddingInputText(TEXTS))
        images = call("embeddings", body=models.OpenAIEmbeddingInputImage(urls, modality=modality))
        legacy = call("embeddings_image", body=models.ImageEmbeddingInput(urls))
        (card,) = call("models").data
    assert texts == native(demo, TEXTS, [])
    assert images == legacy == native(demo, [], urls)
    assert (card.id, card.stats["queue_absolute"]) == ("demo", 0)
    assert card.owned_by == models.ModelInfoOwnedBy.INFINITY


def test_ollamas_client(demo: Server, clients: None) -> None:
    ollama = importlib.import_module("ollama")
    options: dict[str, Any] = {"truncate": True, "options": {"num_ctx": 512}, "keep_alive": "5m"}
    with closing(ollama.Client(host=demo.url)) as client:
        assert client.embed(model="demo", input=TEXTS).embeddings == native(demo, TEXTS, [])
        answer = client.embed(model="demo:latest", input="a fox", **options)
        assert answer.embeddings == native(demo, TEXTS[:1], [])
        with pytest.raises(ollama.ResponseError, match="not served here"):
            client.embed(model="nomic-embed-text", input="a fox")
