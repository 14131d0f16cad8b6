"""Requests that the OpenAPI document shows, and the answers that the demo model gives; a test sends each of them."""

from dataclasses import dataclass
from typing import Any

Node = dict[str, Any]

# A fox of 32 pixels, from Google's Noto emoji (Apache 2.0).
FOX_BASE64 = """\
UklGRhwBAABXRUJQVlA4IBABAACQBwCdASogACAAPxF0rVCsJqQisBgMAYAiCWwAnTNogXiCtwjE2EBtnbtA3k4LMjWQ3eTvS5m76gk9iNe1iWnJMwsC\
xiwA/vzavBdgQd4gURpgxOPqe/00QsqTVhfJAaF9LghQkwibRu0WToWLzgumyoUqBwdruRoyBwFM0yjMuZrqh0gnIo1ca2T9Bj4/S8EWDae6v8Kfcrpb\
Kiap8UfJ1ZmosqLgdueZlRE1yZW2Qu8yxLuwK0g9gjldKz42QNudj96BpTQ1qEV6j4BPPEDWvSQ5oOpOGzZ7jCAiRsIB3s3xOHJRlYuTwetCHguemC6F\
dWQcTImzehEWi+xOk/Ia7owok+fE81GNmzzPY1xgAA=="""
FOX = f"data:image/webp;base64,{FOX_BASE64}"
TEXT_SIGNS = "ZDlf1vxU2an7vQk8aR8BtMgvHdJKYTy3bkRhnrN2Yvw="  # of "a fox"
FOX_SIGNS = "ZBlN1t1E+a3bvQmkQRtVNtmvFVBjYBy3BoTrXitmZnk="
BROKEN = "data:image/png;base64,AAAA"
DEMO: Node = {"model": "demo", "dimensions": 256}
NOT_AN_IMAGE: Node = {
    "index": 0,
    "url": BROKEN,
    "code": "not_an_image",
    "detail": "not a supported image format (the file starts with the bytes 00 00 00); "
    "supported: JPEG, PNG, WebP, GIF, BMP, AVIF",
    "retryable": False,
}
SIGNS: Node = {"output_dtype": "ubinary", "encoding_format": "base64"}  # rows of 44 letters, short enough to show


@dataclass(frozen=True)
class Example:
    """A request's body, and its whole answer where that is short enough to read."""

    request: Node
    response: Node | None = None


EXAMPLES: dict[str, dict[str, Example]] = {
    "/embed/text": {
        "vectors": Example({"texts": ["a fox", "a pizza"]}),
        "signs": Example({"texts": ["a fox"], **SIGNS}, {"embeddings": [TEXT_SIGNS], **DEMO, "truncated": []}),
    },
    "/embed/image": {
        "vectors": Example({"urls": [FOX]}),
        "a failure beside it": Example(
            {"urls": [BROKEN, FOX], **SIGNS},
            {"embeddings": [FOX_SIGNS], "indices": [1], "errors": [NOT_AN_IMAGE], **DEMO},
        ),
        "its place kept": Example(
            {"urls": [BROKEN, FOX], "on_error": "null", **SIGNS},
            {"embeddings": [None, FOX_SIGNS], "indices": [0, 1], "errors": [NOT_AN_IMAGE], **DEMO},
        ),
    },
    "/embed/mixed": {
        "vectors": Example({"texts": ["a fox"], "urls": [FOX]}),
        "signs": Example(
            {"texts": ["a fox"], "urls": [FOX], **SIGNS},
            {
                "text_embeddings": [TEXT_SIGNS], "image_embeddings": [FOX_SIGNS],
                "truncated": [], "indices": [0], "errors": [], **DEMO,
            },
        ),
    },
    "/rank": {
        "which text fits the picture": Example(
            {"query": {"url": FOX}, "candidates": [{"text": "a pizza"}, {"text": "a fox"}, {"text": "a cat"}]},
            {
                "results": [
                    {"index": 1, "cosine": 0.787, "probability": 0.9998},
                    {"index": 2, "cosine": 0.423, "probability": 0.0001},
                    {"index": 0, "cosine": 0.362, "probability": 0.0000},
                ],
                "errors": [],
                "model": "demo",
            },
        ),
        "the best of two pictures": Example(
            {"query": {"text": "a fox"}, "candidates": [{"url": BROKEN}, {"url": FOX}], "top_k": 1},
            {
                "results": [{"index": 1, "cosine": 0.787, "probability": 1.0}],
                "errors": [NOT_AN_IMAGE],
                "model": "demo",
            },
        ),
    },
    "/v1/embeddings": {
        "a text": Example({"input": "a fox", "model": "demo"}),
        "a text and a picture": Example(
            {"input": ["a fox", {"image": FOX}], **SIGNS},
            {
                "data": [
                    {"index": 0, "embedding": TEXT_SIGNS, "object": "embedding"},
                    {"index": 1, "embedding": FOX_SIGNS, "object": "embedding"},
                ],
                "model": "demo",
                "usage": {"prompt_tokens": 4, "total_tokens": 4},
                "object": "list",
            },
        ),
        "pictures as plain strings": Example({"input": [FOX], "modality": "image"}),
    },
    "/vectorize": {
        "a text and a picture": Example({"texts": ["a fox"], "images": [FOX_BASE64]}),
    },
    "/bigquery": {
        "a batch of rows": Example({"calls": [["a fox"], [None]], "userDefinedContext": {"encoding": "base64"}}),
        "an empty row": Example({"calls": [[None]]}, {"replies": [None]}),
    },
}  # fmt: skip
