"""Which URLs and addresses may be fetched: a table."""

from ipaddress import ip_network

import pytest

from common.errors import BlockedUrl, FetchError, InvalidUrl
from common.images.url_policy import UrlPolicy, check_address, check_url, host_of, redact

OPEN = UrlPolicy()

BLOCKED_ADDRESSES = """
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.1.2.3 168.63.129.16
    169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.31.196.1
    192.52.193.1 192.88.99.1 192.168.0.1 192.168.255.255 192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.1
    199.36.153.4 199.36.153.8 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    :: ::1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:8.8.8.8 ::127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1
    64:ff9b::8.8.8.8 64:ff9b:1::1 100::1 2001::1 2001:0:7f00:1::1 2001:10::1 2001:20::1 2001:1ff::1 2001:db8::1
    2002:7f00:1::1 2002:a9fe:a9fe:: 2620:4f:8000::1 3fff::1 3fff:fff::1 fc00::1 fd00::1 fd20:ce::254 fd00:ec2::254
    fe80::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1 5f00::1 4000::1 2606:4700::1111%eth0
""".split()

PUBLIC_ADDRESSES = """
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 128.0.0.1 169.253.255.255 169.255.0.1
    172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255 192.169.0.1 198.17.255.255 198.20.0.1
    199.36.152.1 223.255.255.255
    2606:4700:4700::1111 2a00:1450:4001::1 2001:4860:4860::8888 2400:cb00::1 2003::1 2620:fe::fe
""".split()

BLOCKED_URLS = """
    http://127.0.0.1/ http://127.1/ http://127.0.1/ http://2130706433/ http://0x7f000001/ http://0x7f.1/ http://0177.0.0.1/
    http://017700000001/ http://0/ http://0.0.0.0/ http://00000000000000/ http://127.0.0.1./ http://[::]/ http://[::1]/
    http://[::ffff:127.0.0.1]/ http://[::ffff:7f00:1]/ http://[0:0:0:0:0:ffff:7f00:1]/ http://[64:ff9b::7f00:1]/
    http://[fd20:ce::254]/ http://[fe80::1]/ http://169.254.169.254/latest/meta-data/ http://0xa9fea9fe/ http://2852039166/
    http://169.254.43518/ http://localhost/ http://localhost./ http://LOCALHOST/ http://a.localhost/ http://metadata/
    http://metadata.google.internal/ http://METADATA.GOOGLE.INTERNAL./ http://instance-data.ec2.internal/
    http://printer.local/ http://router.lan/ http://nas.home.arpa/ http://a.onion/ http://kubernetes.default.svc/
    http://kubernetes.default.svc.cluster.local/ http://db.localdomain/ http://intranet/ http://example.com:22/
    http://example.com:8080/ https://example.com:80/ http://example.com:443/ http://example.com:25/
    http://user@example.com/ http://user:password@example.com/ http://example.com@127.0.0.1/ http://:@example.com/
    http://1.2.3.4.5.6/ http://999/ http://256.256.256.256/ http://0x/
""".split()

INVALID_URLS = [
    "",
    "example.com/a.png",
    "//example.com/a.png",
    "ftp://example.com/a.png",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "dict://127.0.0.1:11211/",
    "http://",
    "http:///a.png",
    "http://exa mple.com/",
    "http://example.com/\r\nX: y",
    "http://example.com\\@127.0.0.1/",
    "http://example.com/\t",
    "http://example.com/\x00",
    "http://example.com/\u2028",
    "http://example.com:99999/",
    "http://example.com:port/",
    "http://[::1/",
    "http://example.com/" + "a" * 2048,
    " http://example.com/",
]

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
    for url in ("http://127.0.0.1/", "http://metadata/", "http://example.com:22/", "http://a@example.com/"):
        with pytest.raises(BlockedUrl) as raised:
            check_url(url, OPEN)
        messages.add(str(raised.value))
    assert messages == {"this URL may not be fetched"}


def test_an_allow_list_of_hosts_blocks_all_others() -> None:
    policy = UrlPolicy(allow_hosts=("*.example.com", "images.example.org"))
    for url in ("https://a.example.com/", "https://A.B.EXAMPLE.COM/", "https://images.example.org/"):
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
    for address, port in (("10.0.0.1", 80), ("169.254.169.254", 80), ("8.8.8.8", 8080), ("::1", 80)):
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
