"""sentence-transformers' CLIP behind FastAPI, as many projects serve it. Runs in its environment.

WEIGHTS names a folder of transformers' CLIPModel. Both towers load at the start.
"""

import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import requests
from fastapi import FastAPI
from PIL import Image
from pydantic import BaseModel
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import CLIPModel

state: dict[str, Any] = {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Load at the start."""
    state["model"] = SentenceTransformer(modules=[CLIPModel(os.environ["WEIGHTS"])], device="cpu")
    yield


app = FastAPI(lifespan=lifespan)


class TextRequest(BaseModel):
    """Texts."""

    texts: list[str]


class ImageRequest(BaseModel):
    """Images by URL."""

    urls: list[str]


def encode(items: list[Any]) -> dict[str, list[list[float]]]:
    """One call of the library, which forms batches of 32."""
    vectors = state["model"].encode(items, normalize_embeddings=True, show_progress_bar=False)
    return {"embeddings": vectors.tolist()}


@app.post("/embed/text")
def embed_text(body: TextRequest) -> dict[str, list[list[float]]]:
    """All texts of a request."""
    return encode(body.texts)


@app.post("/embed/image")
def embed_image(body: ImageRequest) -> dict[str, list[list[float]]]:
    """Downloads in turn."""
    contents = [requests.get(url, timeout=10).content for url in body.urls]
    return encode([Image.open(io.BytesIO(content)).convert("RGB") for content in contents])
