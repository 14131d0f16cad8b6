"""Clients send thousands of texts at once with their defaults, and all are answered."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from tests.e2e.server import Server, serve
from tests.paths import ROOT

CALLERS = 8
TEXTS = 1024  # of each caller: together four times what one request may hold
NODE = ROOT / "tests" / "node"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the threads of a deployed one."""
    with serve(tmp_path_factory.mktemp("bulk"), THREADS="16", CLIP_HEALTH_WAIT_S="60") as running:
        assert running.get("/health").json()["status"] == "healthy"
        yield running


def test_openais_client_for_eight_callers_of_a_thousand_texts(server: Server) -> None:
    before = server.resident_mb()

    def embed(caller: int) -> int:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any") as client:
            texts = [f"caller {caller} saw fox {number}" for number in range(TEXTS)]
            answer = client.embeddings.create(model="demo", input=texts)
            return len({tuple(item.embedding[:8]) for item in answer.data})

    with ThreadPoolExecutor(CALLERS) as pool:
        assert list(pool.map(embed, range(CALLERS))) == [TEXTS] * CALLERS
    assert server.resident_mb() - before < 150


def test_the_ai_sdk_embeds_ten_thousand_values(server: Server) -> None:
    """It sends them in parallel requests of 2,048 each."""
    command: list[str | Path] = ["node", NODE / "embed_many.mjs", server.url, "10000"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    answer = json.loads(run.stdout)
    assert (answer["rows"], answer["dimensions"]) == (10_000, [256])
    assert answer["tokens"] > 10_000 * 5
