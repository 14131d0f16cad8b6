"""https: certificates must match the URL's host name, though the socket gets a checked address."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import certifi
import pytest
import trustme

from common.allowance import Allowance
from common.errors import FetchError, FetchTimeout, TlsFailed
from common.images.http_source import HttpSource
from common.images.limits import FetchLimits
from common.images.transport import AddressInfo
from common.images.url_policy import UrlPolicy
from tests.image_server import ImageServer, picture
from tests.loopback import answering

NAME = "images.example.com"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """The one that is trusted."""
    own = trustme.CA()
    own.cert_pem.write_to_path(tmp_path / "roots.pem")
    monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "roots.pem"))
    return own


@contextmanager
def serving_tls(certificate: trustme.LeafCert) -> Iterator[ImageServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    server = ImageServer()
    context.sni_callback = lambda _, name, __: server.names_asked.append(name)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve("/a.png", picture())
    with answering(server):
        yield server


def fetch(host: str, port: int, timeout_s: float = 5) -> bytes:
    """/a.png of `host`, whose name means 127.0.0.1."""

    def resolve(_: str, port: int, *__: object) -> list[AddressInfo]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    policy = UrlPolicy(allow_networks=(ip_network("127.0.0.0/8"),))
    limits = FetchLimits(timeout_s=timeout_s, max_bytes=10**6)
    source = HttpSource(limits, policy, resolve)
    return source.read(f"https://{host}:{port}/a.png", Allowance.lasting(30))


def test_a_trusted_certificate_of_that_name_is_accepted_and_the_name_is_asked_for(
    authority: trustme.CA,
) -> None:
    with serving_tls(authority.issue_cert(NAME)) as server:
        assert fetch(NAME, server.server_address[1]) == picture()
        assert server.names_asked == [NAME]
        assert server.headers_seen["/a.png"]["Host"].startswith(NAME)


@pytest.mark.parametrize(
    "names", [["other.example.com"], ["127.0.0.1"], ["*.com"], ["*.images.example.com"]]
)
def test_a_trusted_certificate_of_another_name_is_not_not_even_of_the_address(
    authority: trustme.CA, names: list[str]
) -> None:
    with serving_tls(authority.issue_cert(*names)) as server:
        with pytest.raises(TlsFailed, match="certificate check failed"):
            fetch(NAME, server.server_address[1])
        assert not server.requests, "nothing is sent, and it is not tried again"


def test_a_certificate_of_an_unknown_authority_is_not(authority: trustme.CA) -> None:
    with serving_tls(trustme.CA().issue_cert(NAME)) as server, pytest.raises(TlsFailed):
        fetch(NAME, server.server_address[1])


def test_an_expired_certificate_is_not(authority: trustme.CA) -> None:
    expired = authority.issue_cert(NAME, not_after=datetime(2020, 1, 1, tzinfo=UTC))
    with serving_tls(expired) as server, pytest.raises(TlsFailed):
        fetch(NAME, server.server_address[1])


def test_a_server_that_never_shakes_hands_costs_no_more_than_the_deadline(
    authority: trustme.CA,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(FetchTimeout):
        fetch(NAME, silent.getsockname()[1], timeout_s=0.5)


def test_a_server_that_speaks_no_tls_is_an_error_of_its_own(
    authority: trustme.CA, image_server: ImageServer
) -> None:
    with pytest.raises(FetchError) as raised:
        fetch(NAME, image_server.server_address[1])
    assert raised.value.code == "tls_failed"
