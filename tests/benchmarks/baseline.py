"""The baseline of the benchmarks: the design that the function succeeds, written honestly.

It runs FastAPI on uvicorn. open_clip loads both towers at the start, in eager float32. Texts are
padded to the context length, and requests downloads images one after another. `CHECKPOINT` names a
folder of weights, as export/random_weights.py lays it out.
"""

import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import requests
from fastapi import FastAPI, HTTPException
from PIL import Image
from pydantic import BaseModel

from tests.benchmarks.eager import load_reference

state: dict[str, Any] = {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Load at the start."""
    reference = load_reference(Path(os.environ["CHECKPOINT"]))
    state.update(reference=reference)
    yield


app = FastAPI(lifespan=lifespan)


class TextRequest(BaseModel):
    """As its callers send it."""

    texts: list[str]


class ImageRequest(BaseModel):
    """As its callers send it."""

    urls: list[str]


@app.get("/health")
def health() -> dict[str, object]:
    """Ready once the start is over."""
    return {"status": "healthy", "model_loaded": bool(state)}


@app.post("/embed/text")
def embed_text(body: TextRequest) -> dict[str, list[list[float]]]:
    """All texts in one forward pass."""
    if not body.texts:
        raise HTTPException(400, "texts is empty")
    return {"embeddings": state["reference"].encode_texts(body.texts).tolist()}


@app.post("/embed/image")
def embed_image(body: ImageRequest) -> dict[str, list[list[float]]]:
    """Downloads in turn, then one forward pass."""
    reference, pixels = state["reference"], []
    for url in body.urls:
        response = requests.get(url, timeout=10)
        response.raise_for_status()
        pixels.append(reference.preprocess(Image.open(io.BytesIO(response.content)).convert("RGB")))
    return {"embeddings": reference.encode_images(pixels).tolist()}
