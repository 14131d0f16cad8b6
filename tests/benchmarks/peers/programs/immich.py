"""The way of Immich's machine learning, which is not published as a package. Runs on its packages.

As there: open_clip's float32 graphs in ONNX Runtime with two threads a session, one item a request,
texts padded to 77 tokens, a pool of one thread a core, orjson. It differs in two points: requests
are JSON, and an image comes by URL instead of as a part of a form. WEIGHTS names the folder.
"""

import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import orjson
import requests
from fastapi import FastAPI, Request, Response
from PIL import Image
from tokenizers import Tokenizer

FOLDER = Path(os.environ["WEIGHTS"])
SIZE, LENGTH = 224, 77
MEAN = np.array((0.48145466, 0.4578275, 0.40821073), np.float32)
STD = np.array((0.26862954, 0.26130258, 0.27577711), np.float32)

app = FastAPI()
pool = ThreadPoolExecutor(os.cpu_count())
loading = threading.Lock()


@cache
def load(name: str) -> Any:
    """A tower, on its first use."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 2, 1
    options.enable_cpu_mem_arena = False
    return ort.InferenceSession(str(FOLDER / f"{name}.onnx"), options)


@cache
def tokenizer() -> Any:
    """Pads to the context length."""
    found = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    end = "<|endoftext|>"
    found.enable_padding(length=LENGTH, pad_token=end, pad_id=found.token_to_id(end))
    found.enable_truncation(LENGTH)
    return found


def run(name: str, batch: Any) -> bytes:
    """One forward pass of one item. The graph does not normalise, nor does Immich."""
    with loading:
        session = load(name)
    vectors = session.run(None, {session.get_inputs()[0].name: batch})[0]
    return orjson.dumps({"embeddings": vectors}, option=orjson.OPT_SERIALIZE_NUMPY)


def embed_text(text: str) -> bytes:
    """Tokenize and encode."""
    with loading:
        tokenize = tokenizer()
    return run("textual", np.array([tokenize.encode(text).ids], np.int64))


def embed_image(url: str) -> bytes:
    """Download, resize the shorter edge, crop the middle, normalise, encode."""
    image = Image.open(io.BytesIO(requests.get(url, timeout=10).content)).convert("RGB")
    width, height = image.size
    scale = SIZE / min(width, height)
    image = image.resize((int(width * scale), int(height * scale)), Image.Resampling.BICUBIC)
    left, top = (int(edge / 2 - SIZE / 2) for edge in image.size)
    pixels = np.asarray(image.crop((left, top, left + SIZE, top + SIZE)), np.float32) / 255
    return run("visual", ((pixels - MEAN) / STD).transpose(2, 0, 1)[None])


@app.post("/predict")
async def predict(request: Request) -> Response:
    """`{"text": …}` or `{"url": …}`."""
    import asyncio

    body = orjson.loads(await request.body())
    call = (embed_text, body["text"]) if "text" in body else (embed_image, body["url"])
    answer = await asyncio.get_running_loop().run_in_executor(pool, *call)
    return Response(answer, media_type="application/json")
