"""Memory: an image's need is known before it is decoded, and no request exceeds its bound."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache

import pytest
from PIL import Image

from common.images.memory_budget import decode_bytes
from common.memory import instance_bytes
from tests.e2e.cost import send
from tests.e2e.server import Server, serve
from tests.hostile.seeds import colours, heic, png_bomb
from tests.image_server import ImageServer
from tests.image_urls import data_url
from tests.paths import ROOT
from tests.variants import bmp, saved, with_chunk

WIDTH, HEIGHT = 2400, 1600
BUDGET_BYTES = decode_bytes(instance_bytes())  # of the server that is started below
ALLOWED_MB = BUDGET_BYTES // 2**20 + 76  # over the idle figure: bodies, and what is made of them
TIMEOUT_S = 8


@cache
def large(mode: str = "RGB") -> Image.Image:
    return colours(mode, (WIDTH, HEIGHT))


# One row is left out, so that the others become an image with transparency.
RUNS = (
    b"\0\0"
    + (b"\xff\1" * (WIDTH // 255) + bytes([WIDTH % 255, 1]) + b"\0\0") * (HEIGHT - 1)
    + b"\0\1"
)
MASKS = (0xF00).to_bytes(4, "little") + (0xF0).to_bytes(4, "little") + (0xF).to_bytes(4, "little")


def with_key(data: bytes) -> bytes:
    """The PNG with black as its transparent colour."""
    return with_chunk(data, b"tRNS", bytes(6))


def on_larger_screen(data: bytes) -> bytes:
    """The GIF, whose image is a row and a column smaller than its screen."""
    return (
        data[:6]
        + (WIDTH + 1).to_bytes(2, "little")
        + (HEIGHT + 1).to_bytes(2, "little")
        + data[10:]
    )


KINDS: dict[str, Callable[[], bytes]] = {
    "png-rgb": lambda: png_bomb(WIDTH, HEIGHT, 2),
    "png-rgba": lambda: png_bomb(WIDTH, HEIGHT, 6),
    "png-gray": lambda: png_bomb(WIDTH, HEIGHT, 0),
    "png-bits": lambda: png_bomb(WIDTH, HEIGHT, 0, 1),
    "png-gray-16": lambda: png_bomb(WIDTH, HEIGHT, 0, 16),
    "png-rgb-16": lambda: png_bomb(WIDTH, HEIGHT, 2, 16),
    "png-palette-transparent": lambda: png_bomb(WIDTH, HEIGHT, 3),
    "png-gray-alpha": lambda: png_bomb(WIDTH, HEIGHT, 4),
    "jpeg": lambda: saved(large(), "JPEG"),
    "jpeg-progressive": lambda: saved(large(), "JPEG", progressive=True),
    "jpeg-progressive-444": lambda: saved(large(), "JPEG", progressive=True, subsampling=0),
    "jpeg-cmyk-progressive": lambda: saved(large("CMYK"), "JPEG", progressive=True),
    "webp": lambda: saved(large(), "WEBP"),
    "webp-alpha-lossless": lambda: saved(large("RGBA"), "WEBP", lossless=True, quality=0),
    "gif": lambda: saved(large("P"), "GIF", transparency=1),
    "bmp": lambda: saved(large(), "BMP"),
    "bmp-palette": lambda: saved(large("P"), "BMP"),
    "png-rgb-16-transparent": lambda: with_key(png_bomb(WIDTH, HEIGHT, 2, 16)),
    "jpeg-without-end": lambda: saved(large(), "JPEG")[:-2],
    "gif-partial": lambda: on_larger_screen(saved(large("P"), "GIF")),
    "bmp-runs": lambda: bmp(RUNS, (WIDTH, HEIGHT), 8, 1, bytes(1024)),
    "bmp-bits": lambda: bmp(bytes(2 * WIDTH * HEIGHT), (WIDTH, HEIGHT), 16, 3, MASKS),
    "heic": lambda: heic(large()),
    "avif": lambda: saved(large(), "AVIF", speed=10, quality=10),
    "avif-alpha-444": lambda: saved(
        large("RGBA"), "AVIF", speed=10, quality=10, subsampling="4:4:4"
    ),
}


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """The bytes reserved for an image of each kind, and those by which memory grew."""
    folder = tmp_path_factory.mktemp("kinds")
    for kind, make in KINDS.items():
        (folder / kind).write_bytes(make())
    files = [str(folder / kind) for kind in KINDS]
    command = [sys.executable, "-m", "tests.hostile.decode_cost", *files]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(zip(KINDS, json.loads(run.stdout), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_no_picture_takes_more_memory_than_is_reserved_for_it(
    kind: str, costs: dict[str, list[int]]
) -> None:
    reserved, grown = costs[kind]
    assert grown < reserved + 3 * 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, limit = tmp_path_factory.mktemp("memory"), str(TIMEOUT_S)
    with serve(
        folder, CLIP_REQUEST_TIMEOUT_S=limit, CLIP_FETCH_TIMEOUT_S="6", CLIP_HEALTH_WAIT_S="60"
    ) as running:
        assert running.get("/health").json()["status"] == "healthy"
        running.post("/embed/text", {"texts": ["a fox"] * 64}).raise_for_status()
        yield running


@cache
def fitting(bytes_a_pixel: int, colour_type: int, bits: int = 8) -> str:
    """The largest PNG of that kind that is decoded, as a URL."""
    side = int((BUDGET_BYTES / bytes_a_pixel) ** 0.5) - 1
    return data_url(png_bomb(side, side, colour_type, bits))


@cache
def progressive() -> str:
    """Three samples a pixel, each of two bytes, and the smallest image."""
    image = Image.new("RGB", (5900, 5900))
    return data_url(saved(image, "JPEG", progressive=True, subsampling=0), "image/jpeg")


REQUESTS: dict[str, Callable[[], tuple[str, bytes]]] = {
    "2,048 texts of 16,000 letters": lambda: (
        "/embed/text",
        json.dumps({"texts": ["ab c" * 4000] * 2048}).encode(),
    ),
    "330 texts of 98,000 letters and an emoji each": lambda: (
        "/embed/text",
        json.dumps(
            {"texts": [f"😀 {n:3}" + "a fox, " * 14_000 for n in range(330)]}, ensure_ascii=False
        ).encode(),
    ),
    "eleven million lists": lambda: ("/embed/text", b'{"texts": [' + b"[]," * 11_000_000 + b"[]]}"),
    "eight million numbers": lambda: ("/embed/text", b'{"texts": [' + b"1e5," * 8_000_000 + b"1]}"),
    "a hundred thousand objects": lambda: (
        "/embed/text",
        b'{"texts": [' + b'{"a":1},' * 99_000 + b"1]}",
    ),
    "keys without end": lambda: (
        "/embed/text",
        b"{" + b",".join(b'"%d":0' % n for n in range(99_000)) + b"}",
    ),
    "32 MB of brackets": lambda: ("/embed/text", b"[" * (32 * 2**20 - 1)),
    "32 MB of escaped quotes": lambda: (
        "/embed/text",
        b'{"texts": ["' + b'\\"' * (16 * 2**20 - 10) + b'"]}',
    ),
    "one text of 32 MB": lambda: (
        "/embed/text",
        b'{"texts": ["' + b"a" * (32 * 2**20 - 20) + b'"]}',
    ),
    "the largest RGB picture, eight times": lambda: images(
        [fitting(4, 2) + "=" * n for n in range(8)]
    ),
    "the largest RGBA picture": lambda: images([fitting(9, 6)]),
    "the largest picture of 16 bits": lambda: images([fitting(10, 0, 16)]),
    "the largest palette picture": lambda: images([fitting(9, 3)]),
    "the largest progressive JPEG": lambda: images([progressive()]),
    "ten million escapes in a data: URL": lambda: images(
        ["data:image/png," + "%00" * (10 * 2**20)]
    ),
    "a data: URL of 15 MB": lambda: images([data_url(padded(15 * 2**20))]),
    "an OpenAI input of 15 MB": lambda: (
        "/v1/embeddings",
        json.dumps({"input": {"image": base64.b64encode(padded(15 * 2**20)).decode()}}).encode(),
    ),
    "two files of 15 MB": lambda: form([padded(15 * 2**20), padded(15 * 2**20 + 1)]),
    "a file of 31 MB": lambda: form([padded(31 * 2**20)]),
    "2,048 texts of endless entities": lambda: (
        "/embed/text",
        json.dumps({"texts": [f"&#{'9' * 4900};{n}" for n in range(2048)]}).encode(),
    ),
    "the largest progressive JPEG in a form of 31 MB": lambda: form(
        [padded(19 * 2**20, base64.b64decode(progressive().partition(",")[2])), bytes(11 * 2**20)]
    ),
    "the largest palette picture beside 20 MB of texts that take 80": lambda: (
        "/embed/mixed",
        json.dumps(
            {
                "urls": [fitting(9, 3)],
                "texts": [f"😀 {n:3}" + "a fox, " * 14_000 for n in range(200)],
            },
            ensure_ascii=False,
        ).encode(),
    ),
    "a strip of 1 × 30,000": lambda: images(
        [data_url(png_bomb(1, 30_000, 6)), data_url(png_bomb(30_000, 1, 2))]
    ),
}


def padded(size: int, data: bytes = b"") -> bytes:
    """An image of that many bytes: what comes after its end is not read."""
    data = data or saved(Image.new("RGB", (64, 64)), "PNG")
    return data + bytes(size - len(data))


def form(files: list[bytes]) -> tuple[str, bytes]:
    """A multipart form, told by its first bytes."""
    head = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n'
        b"Content-Type: image/png\r\n\r\n"
    )
    return "/embed/image", b"".join(head + file + b"\r\n" for file in files) + b"--x--\r\n"


def images(urls: list[str]) -> tuple[str, bytes]:
    return "/embed/image", json.dumps({"urls": urls}).encode()


@pytest.mark.parametrize("name", REQUESTS)
def test_no_single_request_takes_more_memory_or_time_than_its_bound(
    server: Server, name: str
) -> None:
    path, body = REQUESTS[name]()
    response, seconds, grown_mb = send(server, path, body)
    print(
        f"{name}: {len(body) / 1e6:.1f} MB, {response.status_code}, {seconds:.1f} s,"
        f" +{grown_mb:.0f} MB"
    )
    assert response.status_code in (200, 400, 504)
    assert grown_mb < ALLOWED_MB
    assert seconds < TIMEOUT_S + 30  # a busy machine pauses; what has no bound takes longer
    assert server.get("/health").json()["status"] == "healthy"


@pytest.fixture(scope="module")
def unhurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose requests have time for hundreds of megabytes."""
    with serve(
        tmp_path_factory.mktemp("unhurried"),
        CLIP_REQUEST_TIMEOUT_S="240",
        CLIP_FETCH_TIMEOUT_S="120",
        CLIP_HEALTH_WAIT_S="60",
    ) as running:
        assert running.get("/health").json()["status"] == "healthy"
        yield running


def test_large_downloads_take_turns(unhurried: Server, image_server: ImageServer) -> None:
    """Sixteen at a time, each of nearly 20 MiB, would take 320 MB."""
    body = saved(Image.new("RGB", (64, 64)), "PNG") + bytes(19 * 2**20)
    urls = [image_server.serve(f"/{number}.png", body) for number in range(32)]
    response, seconds, grown_mb = send(unhurried, *images(urls))
    print(f"32 downloads of 19 MB: {seconds:.1f} s, +{grown_mb:.0f} MB")
    assert response.json()["errors"] == []
    assert grown_mb < ALLOWED_MB


def test_large_downloads_of_large_pictures_take_no_more(
    server: Server, image_server: ImageServer
) -> None:
    side = min(int(((BUDGET_BYTES - 19 * 2**20) / 4) ** 0.5) - 8, 8000)  # within 64 MP
    body = padded(19 * 2**20, png_bomb(side, side, 2))
    urls = [image_server.serve(f"/{number}.png", body) for number in range(3)]
    response, seconds, grown_mb = send(server, *images(urls))
    print(
        f"3 downloads of 19 MB, {side}²: {response.status_code}, {seconds:.1f} s,"
        f" +{grown_mb:.0f} MB"
    )
    assert len(response.json()["indices"]) >= 1
    assert {error["code"] for error in response.json()["errors"]} <= {"timeout"}
    assert grown_mb < ALLOWED_MB
