"""Building blocks of the examples in the OpenAPI document. The answers are the demo model's."""

from dataclasses import dataclass
from typing import Any

Node = dict[str, Any]

# A fox, 32 pixels wide and high, from Google's Noto emoji (Apache 2.0).
FOX_BASE64 = """\
UklGRhwBAABXRUJQVlA4IBABAACQBwCdASogACAAPxF0rVCsJqQisBgMAYAiCWwAnTNogXiCtwjE2EBtnbtA3k4LMjWQ3eTvS\
5m76gk9iNe1iWnJMwsCxiwA/vzavBdgQd4gURpgxOPqe/00QsqTVhfJAaF9LghQkwibRu0WToWLzgumyoUqBwdruRoyBwFM0y\
jMuZrqh0gnIo1ca2T9Bj4/S8EWDae6v8KfcrpbKiap8UfJ1ZmosqLgdueZlRE1yZW2Qu8yxLuwK0g9gjldKz42QNudj96BpTQ\
1qEV6j4BPPEDWvSQ5oOpOGzZ7jCAiRsIB3s3xOHJRlYuTwetCHguemC6FdWQcTImzehEWi+xOk/Ia7owok+fE81GNmzzPY1xg\
AA=="""
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
SIGNS: Node = {"output_dtype": "ubinary", "encoding_format": "base64"}  # rows of 44 letters


@dataclass(frozen=True)
class Example:
    """A request body, and its complete answer if that is short enough to read."""

    request: Node
    response: Node | None = None
