"""The baseline of the benchmarks: the design that the function succeeds, written honestly.

It runs FastAPI on uvicorn. open_clip loads both towers at the start, in eager float32. Texts are
padded to the context length, and requests downloads images one after another. `CHECKPOINT` names a
folder with open_clip weights.
"""

import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import requests
from fastapi import FastAPI, HTTPException
from PIL import Image
from pydantic import BaseModel

from tests.reference import import_open_clip

state: dict[str, Any] = {}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Load at the start."""
    open_clip = import_open_clip()
    architecture, checkpoint = os.environ["ARCHITECTURE"], os.environ["CHECKPOINT"]
    model, _, preprocess = open_clip.create_model_and_transforms(
        architecture, pretrained=checkpoint
    )
    state.update(
        model=model.eval(), preprocess=preprocess, tokenizer=open_clip.get_tokenizer(architecture)
    )
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
    import torch

    if not body.texts:
        raise HTTPException(400, "texts is empty")
    with torch.inference_mode():
        vectors = state["model"].encode_text(state["tokenizer"](body.texts), normalize=True)
    return {"embeddings": vectors.tolist()}


@app.post("/embed/image")
def embed_image(body: ImageRequest) -> dict[str, list[list[float]]]:
    """Downloads in turn, then one forward pass."""
    import torch

    pixels = []
    for url in body.urls:
        response = requests.get(url, timeout=10)
        response.raise_for_status()
        pixels.append(state["preprocess"](Image.open(io.BytesIO(response.content)).convert("RGB")))
    with torch.inference_mode():
        vectors = state["model"].encode_image(torch.stack(pixels), normalize=True)
    return {"embeddings": vectors.tolist()}
