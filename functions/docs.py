"""GET /docs: the OpenAPI document in Swagger UI, whose files the function serves itself."""

from pathlib import Path

from functions.call import Call
from functions.errors import NotFound
from functions.responses import File

FOLDER = Path(__file__).with_name("static") / "docs"
TYPES = {".css": "text/css", ".js": "text/javascript"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def page(_: Call) -> File:
    """Interactive API documentation."""
    data = (FOLDER / "index.html").read_bytes()
    return File(data, "text/html; charset=utf-8", {"Content-Security-Policy": POLICY})


def asset(_: Call, name: str) -> File:
    """A script or style of the documentation page.

    Raises NotFound.
    """
    # The page's links are relative, so that it works under any path. They may become /docs/docs/….
    name = name.rpartition("/")[2]
    for path in FOLDER.iterdir() if Path(name).suffix in TYPES else ():
        if path.name in (name, f"{name}.gz"):
            headers = {"Cache-Control": "public, max-age=86400"}
            kind = f"{TYPES[Path(name).suffix]}; charset=utf-8"
            return File(path.read_bytes(), kind, headers, is_gzip=path.suffix == ".gz")
    raise NotFound("no such file; `GET /` lists all routes")
