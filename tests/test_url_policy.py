"""The URL policy: a table of allowed and blocked URLs and addresses."""

from ipaddress import ip_network

import pytest

from common.errors import BlockedUrl, FetchError, InvalidUrl
from common.images.url_policy import UrlPolicy, check_address, check_url, host_of, redact
from tests.hostile.addresses import BLOCKED_ADDRESSES, BLOCKED_URLS, INVALID_URLS, OPEN

PUBLIC_ADDRESSES = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 128.0.0.1 169.253.255.255
    169.255.0.1 172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255 192.169.0.1 198.17.255.255
    198.20.0.1 199.36.152.1 223.255.255.255 2606:4700:4700::1111 2a00:1450:4001::1
    2001:4860:4860::8888 2400:cb00::1 2003::1 2620:fe::fe 2606:4700::6810:85e5
    2a00:1450:4001:80e::200e 2606:4700::5efe:808:808 2600:1f18:a00:1::5 2600:1f18::
""".split()


GOOD_URLS = """
    http://example.com/a.png https://example.com/ https://example.com:443/a http://example.com:80/a HTTPS://EXAMPLE.COM/a
    https://example.com/a?token=b%20c#d https://1.1.1.1/a https://[2606:4700:4700::1111]/a https://a.b.c.example.com./a
    https://xn--bcher-kva.example/a https://example.com/%5C https://example.com/a//b/../c
""".split()


@pytest.mark.parametrize("address", BLOCKED_ADDRESSES)
def test_no_socket_connects_to_a_special_address(address: str) -> None:
    with pytest.raises(BlockedUrl):
        check_address(address, 443, 443, OPEN)


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_public_addresses_are_allowed_on_the_schemes_own_port_alone(address: str) -> None:
    check_address(address, 443, 443, OPEN)
    with pytest.raises(BlockedUrl):
        check_address(address, 443, 8443, OPEN)


@pytest.mark.parametrize("url", BLOCKED_URLS)
def test_urls_into_forbidden_space_are_blocked_before_any_resolution(url: str) -> None:
    with pytest.raises(FetchError) as raised:
        check_url(url, OPEN)
    assert isinstance(raised.value, BlockedUrl | InvalidUrl)


@pytest.mark.parametrize("url", INVALID_URLS)
def test_what_is_no_url_of_ours_is_invalid(url: str) -> None:
    with pytest.raises(InvalidUrl):
        check_url(url, OPEN)


@pytest.mark.parametrize("url", GOOD_URLS)
def test_good_urls_pass(url: str) -> None:
    check_url(url, OPEN)


def test_all_blocked_urls_say_the_same() -> None:
    messages = set()
    for url in (
        "http://127.0.0.1/",
        "http://metadata/",
        "http://example.com:22/",
        "http://a@example.com/",
    ):
        with pytest.raises(BlockedUrl) as raised:
            check_url(url, OPEN)
        messages.add(str(raised.value))
    assert messages == {"this URL points to an address that this service does not fetch from"}


def test_an_allow_list_of_hosts_blocks_all_others() -> None:
    policy = UrlPolicy(allow_hosts=("*.example.com", "images.example.org"))
    for url in (
        "https://a.example.com/",
        "https://A.B.EXAMPLE.COM/",
        "https://images.example.org/",
    ):
        check_url(url, policy)
    for url in (
        "https://example.com/",
        "https://example.com.evil.net/",
        "https://evil.net/?a.example.com",
        "https://1.1.1.1/",
    ):
        with pytest.raises(BlockedUrl):
            check_url(url, policy)


def test_permitted_networks_open_their_addresses_on_any_port_and_nothing_else() -> None:
    policy = UrlPolicy(allow_networks=(ip_network("127.0.0.0/8"), ip_network("fd00::/8")))
    check_url("http://127.0.0.1:8080/a.png", policy)
    check_url("http://localhost:8080/a.png", policy)
    check_address("127.0.0.1", 80, 8080, policy)
    check_address("fd00::1", 80, 9000, policy)
    for address, port in (
        ("10.0.0.1", 80),
        ("169.254.169.254", 80),
        ("8.8.8.8", 8080),
        ("::1", 80),
    ):
        with pytest.raises(BlockedUrl):
            check_address(address, 80, port, policy)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.com/a.png?X-Goog-Signature=secret#frag", "https://example.com/a.png"),
        ("https://user:secret@example.com/a", "https://example.com/a"),
        (
            "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ",
            "data:image/png;base64,iVBORw0KGgoAAAANSU…",
        ),
        ("https://example.com/" + "a" * 300, "https://example.com/" + "a" * 180 + "…"),
        ("no url", "no url"),
    ],
)
def test_urls_are_shown_without_their_secrets(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_the_log_gets_the_host_alone() -> None:
    assert host_of("https://user:secret@example.com:8443/path?query") == "example.com"
    assert host_of("data:image/png;base64,AAAA") == ""
    assert host_of("http://[::1") == ""
