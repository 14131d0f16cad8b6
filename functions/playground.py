"""GET / for browsers: the playground, one HTML file that calls the function's public routes."""

import base64
import gzip
import hashlib
import re
from functools import cache
from pathlib import Path

from functions.responses import File

PAGE = Path(__file__).with_name("static") / "playground.html"


@cache
def page() -> File:
    """The playground."""
    data = PAGE.read_bytes()
    headers = {"Content-Security-Policy": policy(data)}
    return File(gzip.compress(data, mtime=0), "text/html; charset=utf-8", headers, is_gzip=True)


def policy(page: bytes) -> str:
    """The Content-Security-Policy of `page`: it runs only its own script and style.

    The page connects to the function only, but shows images from any host, because people try
    images from anywhere. Trusted Types keep strings from becoming markup.
    """
    return (
        f"default-src 'none'; script-src {_hash_of('script', page)}; "
        f"style-src {_hash_of('style', page)}; img-src data: blob: http: https:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash_of(element: str, page: bytes) -> str:
    """The CSP hash of the inline `element`: https://www.w3.org/TR/CSP3/#grammardef-hash-source."""
    (inside,) = re.findall(rf"<{element}>(.*?)</{element}>".encode(), page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(inside).digest()).decode('ascii')}'"
