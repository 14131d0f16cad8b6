"""ImageReader: reads data: URLs, and says clearly what it cannot read."""

import base64
import sys
from ipaddress import ip_network

import pytest

from common.allowance import Allowance
from common.cloud_storage import CloudStorage
from common.errors import BodyTooLarge, InvalidUrl, UnsupportedType
from common.images.data_source import SLICE_CHARS, DataSource
from common.images.gs_source import GsSource
from common.images.http_source import HttpSource
from common.images.limits import FetchLimits
from common.images.source import ImageReader
from common.images.url_policy import UrlPolicy
from common.items import ImageUrl
from tests.image_server import ImageServer, picture

POLICY = UrlPolicy(allow_networks=(ip_network("127.0.0.0/8"),))


def reader_of(max_bytes: int) -> ImageReader:
    limits = FetchLimits(timeout_s=5, retries=0, max_bytes=max_bytes)
    objects = GsSource(CloudStorage(), timeout_s=5, max_bytes=max_bytes)
    return ImageReader((HttpSource(limits, POLICY), DataSource(max_bytes), objects), max_bytes)


@pytest.fixture
def loader() -> ImageReader:
    return reader_of(10_000)


def load(loader: ImageReader, url: str) -> bytes:
    return loader.read(ImageUrl(url), Allowance.lasting(10))


def test_http_urls_are_fetched(loader: ImageReader, image_server: ImageServer) -> None:
    assert load(loader, image_server.serve("/a.png", picture())) == picture()


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64,{standard}",
        "DATA:image/png;BASE64,{standard}",
        "data:image/png;base64,{urlsafe}",
        "data:image/png;base64,{unpadded}",
        "data:;base64,{standard}",
        "data:image/png;charset=utf-8;base64,{standard}",
    ],
)
def test_base64_data_urls_are_read_in_all_their_spellings(loader: ImageReader, url: str) -> None:
    body = picture()
    standard = base64.b64encode(body).decode()
    urlsafe = base64.urlsafe_b64encode(body).decode()
    assert (
        load(loader, url.format(standard=standard, urlsafe=urlsafe, unpadded=standard.rstrip("=")))
        == body
    )


def test_percent_encoded_data_urls_are_read(loader: ImageReader) -> None:
    assert load(loader, "data:image/gif,GIF89a%00%FF") == b"GIF89a\x00\xff"


@pytest.mark.parametrize("shift", range(4))
def test_an_escape_is_read_whole_wherever_it_stands(shift: int) -> None:
    text = "a" * (SLICE_CHARS - shift) + "%41" * 4 + "%4" + "%" * 3
    large = reader_of(SLICE_CHARS * 2)
    assert load(large, "data:image/gif," + text) == b"a" * (SLICE_CHARS - shift) + b"AAAA%4%%%"


@pytest.mark.parametrize(
    "url",
    ["data:image/png", "data:", "data:image/png;base64,é", "data:image/png;base64,a"],
)
def test_broken_data_urls_are_invalid(loader: ImageReader, url: str) -> None:
    with pytest.raises(InvalidUrl):
        load(loader, url)


def test_data_urls_are_bounded_and_their_type_is_checked(loader: ImageReader) -> None:
    for url in (
        "data:image/png;base64," + "A" * 14_000,
        "data:image/png," + "A" * 10_001,
        "data:image/png," + "%00" * 20_000,
    ):
        with pytest.raises(BodyTooLarge, match="10,000"):
            load(loader, url)
    with pytest.raises(UnsupportedType):
        load(loader, "data:text/html;base64,AAAA")


@pytest.mark.parametrize(
    "kind", ["text/plain", "text/html", "application/json", "image/svg+xml", "x"]
)
def test_an_image_is_read_under_any_label(loader: ImageReader, kind: str) -> None:
    url = f"data:{kind};base64,{base64.b64encode(picture()).decode()}"
    assert load(loader, url) == picture()


def test_other_schemes_are_named(loader: ImageReader) -> None:
    with pytest.raises(InvalidUrl, match="http, https, data, gs"):
        load(loader, "ftp://example.com/a.png")


def test_gs_urls_say_how_to_install_what_they_need(
    loader: ImageReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud", None)
    with pytest.raises(InvalidUrl, match="pip install google-cloud-storage"):
        load(loader, "gs://bucket/object.png")
    with pytest.raises(InvalidUrl, match="gs://bucket/object"):
        load(loader, "gs://bucket")
