"""Clients generated from the OpenAPI document work, and its linters find nothing."""

import base64
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from export.emoji import picture_of
from tests.e2e.server import Server
from tests.paths import ROOT

NODE = ROOT / "tests" / "node"
BIN = NODE / "node_modules" / ".bin"
FOX = picture_of("fox")
FOX_URL = "data:image/png;base64," + base64.b64encode(FOX).decode()


@pytest.fixture(scope="module")
def document(demo: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the function serves it."""
    file = tmp_path_factory.mktemp("document") / "openapi.json"
    file.write_text(json.dumps(demo.get("/openapi.json").json(), indent=1))
    return file


def run(*command: str | Path, cwd: Path = NODE) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout + done.stderr


def posted(document: Path) -> dict[str, str]:
    """The paths that requests are posted to, each with its operation's id."""
    paths = json.loads(document.read_text())["paths"]
    return {path: own["post"]["operationId"] for path, own in paths.items() if "post" in own}


def vectors(server: Server) -> tuple[list[float], list[float]]:
    body = server.post("/embed/mixed", {"texts": ["a fox"], "urls": [FOX_URL]}).json()
    return body["text_embeddings"][0], body["image_embeddings"][0]


def test_the_linters_find_nothing(document: Path) -> None:
    run(BIN / "redocly", "lint", "--config", "redocly.yaml", document)
    assert "No results" in run(BIN / "spectral", "lint", "-r", "spectral.yaml", document)


def test_a_typescript_program_with_generated_types_calls_every_route(
    demo: Server, document: Path, tmp_path: Path
) -> None:
    (tmp_path / "node_modules").symlink_to(NODE / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    typed = (NODE / "typed.ts").read_text()
    (tmp_path / "typed.ts").write_text(typed)
    run(BIN / "openapi-typescript", document, "-o", tmp_path / "schema.d.ts", cwd=tmp_path)
    options = [
        "--strict",
        "--target",
        "es2022",
        "--module",
        "esnext",
        "--moduleResolution",
        "bundler",
    ]
    options += ["--lib", "es2022,dom,dom.iterable", "--types", "node", "--skipLibCheck"]
    run(BIN / "tsc", *options, "typed.ts", cwd=tmp_path)
    answer = json.loads(run("node", "typed.js", demo.url, FOX_URL, cwd=tmp_path))
    assert answer["statuses"] == [200] * 23
    assert set(posted(document)) <= set(re.findall(r'POST\("([^"]+)"', typed))
    text, image = vectors(demo)
    assert answer["text"] == pytest.approx(text, abs=1e-6)
    for row in (answer["image"], *answer["uploads"]):
        assert row == pytest.approx(image, abs=1e-6)


def test_a_generated_python_client_calls_every_route_that_embeds(
    demo: Server, document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = Path(sys.executable).with_name("openapi-python-client")
    target = tmp_path / "clip_client"
    run(
        generator,
        "generate",
        "--path",
        document,
        "--meta",
        "none",
        "--output-path",
        target,
        cwd=tmp_path,
    )
    monkeypatch.syspath_prepend(tmp_path)
    clip, models = (
        importlib.import_module("clip_client"),
        importlib.import_module("clip_client.models"),
    )
    made = importlib.import_module("clip_client.types")

    called = set()

    def call(name: str, **given: Any) -> Any:
        called.add(name.rpartition(".")[2])
        with clip.Client(base_url=demo.url) as client:
            answer = importlib.import_module(f"clip_client.api.{name}").sync_detailed(
                client=client, **given
            )
        assert answer.status_code == 200, answer.content
        return answer.parsed

    text, image = vectors(demo)
    listed = call("embedding.post_embed_text", body=models.TextRequest(texts=["a fox"]))
    assert listed.embeddings[0] == pytest.approx(text, abs=1e-6)
    file = made.File(payload=FOX, file_name="fox.png", mime_type="image/png")
    uploaded = call(
        "embedding.post_embed_image", body=models.PostEmbedImageFilesBody(files=[file, file])
    )
    assert [row == pytest.approx(image, abs=1e-6) for row in uploaded.embeddings] == [True, True]
    fetched = call("embedding.post_embed_image", body=models.ImageRequest(urls=[FOX_URL]))
    assert fetched.embeddings[0] == pytest.approx(image, abs=1e-6)
    call("embedding.post_embed_mixed", body=models.MixedRequest(texts=["a fox"], urls=[FOX_URL]))
    pair = models.ListedItem(text="a fox", url=FOX_URL)
    call("embedding.post_embed_items", body=models.ItemsRequest(items=[pair]))
    query = models.RankRequest(
        query=models.Item(text="a fox"), candidates=[models.Item(url=FOX_URL)]
    )
    assert call("embedding.post_rank", body=query).results[0].index == 0
    inputs = ["a fox", models.PairInput(image=FOX_URL)]
    named = call("open_ai.post_v1_embeddings", body=models.EmbeddingsRequest(input_=inputs))
    assert named.data[1].embedding == pytest.approx(image, abs=1e-6)
    assert call("open_ai.get_v1_models").data[0].id == "demo"
    legacy = call("open_ai.post_embeddings_image", body=models.ImagesRequest(input_=[FOX_URL]))
    assert legacy.data[0].embedding == pytest.approx(image, abs=1e-6)
    said = models.Message(role=models.MessageRole.USER, content="a fox")
    call("open_ai.post_v1_embeddings", body=models.EmbeddingsRequest(messages=[said]))
    assert call("open_ai.get_v1_models_id", id="demo").id == "demo"
    deployed = models.EmbeddingsRequest(input_="a fox")
    call("open_ai.post_openai_deployments_id_embeddings", id="demo", body=deployed)
    call("cohere.post_v2_embed", body=models.EmbedRequest(texts=["a fox"]))
    call("cohere.post_v1_embed", body=models.EmbedRequest(texts=["a fox"]))
    part = models.VoyageImageBase64(type_="image_base64", image_base64=FOX_URL)
    inputs = [models.VoyageInput(content=[part])]
    shown = call(
        "voyage.post_v1_multimodalembeddings", body=models.MultimodalRequest(inputs=inputs)
    )
    assert shown.data[0].embedding == pytest.approx(image, abs=1e-6)
    said = call("ollama.post_api_embed", body=models.OllamaRequest(model="demo", input_="a fox"))
    assert said.embeddings[0] == pytest.approx(text, abs=1e-6)
    assert call("tei.post_embed", body=models.TeiRequest(inputs="a fox"))[0] == pytest.approx(
        text, abs=1e-6
    )
    assert call("weaviate.get_meta").model == "demo"
    call("weaviate.post_vectorize", body=models.VectorizeRequest(texts=["a fox"]))
    call("big_query.post_bigquery", body=models.RemoteRequest(calls=[["a fox"]]))
    entries = json.dumps({"clip": {"visual": {"modelName": "demo"}}})
    shown = call("immich.post_predict", body=models.PostPredictBody(entries=entries, image=file))
    assert json.loads(shown.clip) == pytest.approx(image, abs=1e-6)
    assert set(posted(document).values()) <= called
