"""Cohere's, OpenAI's and other SDKs as users call them: in Python, Node, and a page in Chromium."""

import base64
import functools
import http.server
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import cohere
import huggingface_hub
import openai
import pytest
from playwright.sync_api import Browser

from export.emoji import picture_of
from tests.e2e.server import Server, serve
from tests.loopback import Quiet, answering
from tests.paths import ROOT

NODE = ROOT / "tests" / "node"
FOX = "data:image/png;base64," + base64.b64encode(picture_of("fox")).decode()


def native(server: Server) -> list[Any]:
    """The vectors of the text and of the image, each compared to within rounding."""
    body = server.post("/embed/mixed", {"texts": ["a fox"], "urls": [FOX]}).json()
    return [
        pytest.approx(row, abs=1e-6)
        for row in (*body["text_embeddings"], *body["image_embeddings"])
    ]


def test_coheres_python_sdk(demo: Server) -> None:
    text, image = native(demo)
    given: Any = {"model": "demo", "input_type": "search_document", "embedding_types": ["float"]}
    parts: Any = [
        [{"type": "text", "text": "a fox"}],
        [{"type": "image_url", "image_url": {"url": FOX}}],
    ]
    contents: Any = [{"content": own} for own in parts]
    pair_content: Any = [{"content": parts[0] + parts[1]}]
    pair = demo.post("/embed/items", {"items": [{"text": "a fox", "url": FOX}]}).json()
    with cohere.ClientV2(api_key="any", base_url=demo.url) as client:
        assert client.embed(texts=["a fox"], **given).embeddings.float_ == [text]
        assert client.embed(images=[FOX], **given).embeddings.float_ == [image]
        assert client.embed(inputs=contents, **given).embeddings.float_ == [text, image]
        together = client.embed(inputs=pair_content, **given).embeddings.float_
        assert together is not None
        assert together[0] == pytest.approx(pair["embeddings"][0], abs=1e-6)
        with pytest.raises(cohere.NotFoundError, match="not served here"):
            client.embed(texts=["a fox"], **given | {"model": "embed-v4.0"})


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")  # the SDK's
def test_coheres_python_sdk_of_version_1(demo: Server) -> None:
    """langchain-cohere, LlamaIndex and Chroma call this one."""
    text, image = native(demo)
    given: Any = {"model": "demo", "input_type": "search_document"}
    with cohere.Client(api_key="any", base_url=demo.url) as client:
        assert client.embed(texts=["a fox"], **given).embeddings == [text]
        typed: Any = client.embed(texts=["a fox"], embedding_types=["float"], **given)
        assert typed.embeddings.float_ == [text]
        shown: Any = client.embed(images=[FOX], embedding_types=["float"], **given)
        assert shown.embeddings.float_ == [image]


@pytest.mark.parametrize("path", ["", "/embed"])
def test_hugging_faces_python_client(demo: Server, path: str) -> None:
    """It calls a server of Text Embeddings Inference. LlamaIndex uses it."""
    text, _ = native(demo)
    client = huggingface_hub.InferenceClient(model=demo.url + path)
    assert list(client.feature_extraction("a fox")) == [text]
    right: Any = {"normalize": True, "truncate": True, "truncation_direction": "right"}
    assert list(client.feature_extraction(["a fox"], **right)) == [text]  # type: ignore[arg-type]


def test_openais_python_sdk_with_content_parts(demo: Server) -> None:
    with openai.OpenAI(base_url=f"{demo.url}/v1", api_key="any") as client:
        parts: Any = [
            {"type": "text", "text": "a fox"},
            {"type": "image_url", "image_url": {"url": FOX}},
        ]
        answer = client.embeddings.create(model="demo", input=parts)
    assert [item.embedding for item in answer.data] == native(demo)


def test_clients_in_node(demo: Server) -> None:
    command: list[str | Path] = ["node", NODE / "clients.mjs", demo.url, FOX]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    text, image = native(demo)
    assert json.loads(done.stdout) == {
        "openai": [text, image, text],
        "cohere": [text, image],
        "langchain": [text, text],
        "ai": [text],
        "immich": [text, image],
        "ollama": [text],
        "voyage": [text, text, image],
        "huggingface": [text, text],
    }


class _Files(Quiet, http.server.SimpleHTTPRequestHandler):
    extensions_map: ClassVar[dict[str, str]] = {  # type: ignore[misc]
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
    }


@contextmanager
def pages(folder: Path) -> Iterator[str]:
    """The origin of a site with the files of `folder`."""
    handler = functools.partial(_Files, directory=folder)
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with answering(site):
        yield f"http://127.0.0.1:{site.server_port}"


def test_openais_javascript_sdk_on_a_page_of_an_allowed_origin(
    browser: Browser, tmp_path: Path
) -> None:
    """It sends headers of its own (`x-stainless-…`), and tracing adds `traceparent`."""
    with (
        pages(NODE / "node_modules") as origin,
        serve(tmp_path, CLIP_CORS_ORIGINS=origin) as server,
    ):
        page = browser.new_page()
        page.goto(f"{origin}/openai/package.json")
        rows = page.evaluate(
            """async ([base, image]) => {
              const { OpenAI } = await import('/openai/index.mjs');
              const traceparent = '00-' + 'a'.repeat(32) + '-' + 'b'.repeat(16) + '-01';
              const client = new OpenAI({
                baseURL: base + '/v1',
                apiKey: 'any',
                dangerouslyAllowBrowser: true,
                defaultHeaders: { traceparent },
              });
              const input = ['a fox', { image }];
              const answer = await client.embeddings.create({ model: 'demo', input });
              return answer.data.map(({ embedding }) => [...embedding]);
            }""",
            [server.url, FOX],
        )
        page.close()
        assert rows == native(server)
