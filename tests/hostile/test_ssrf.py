"""No request makes the function connect to a forbidden address: a table, through real sockets.

An audit hook sees every connection that Python opens. Names resolve to what the attacker chooses.
"""

import itertools
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv4Network

import pytest

from common.allowance import Allowance
from common.errors import FetchError
from common.images.http_source import HttpSource
from common.images.limits import FetchLimits
from common.images.transport import AddressInfo
from common.images.url_policy import BLOCKED_IPV4, BLOCKED_IPV6, UrlPolicy, is_public
from tests.hostile.addresses import BLOCKED_ADDRESSES, BLOCKED_URLS, INVALID_URLS, OPEN
from tests.image_server import ImageServer

OPEN_LOOPBACK = (IPv4Network("127.0.0.0/8"),)

connections: list[str] = []
_watching = False


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event == "socket.connect":
        connections.append(str(arguments[1]))


sys.addaudithook(_watch)

HOSTS = [
    "127.0.0.1",
    "10.0.0.1",
    "169.254.169.254",
    "metadata.google.internal",
    "[::1]",
    "localhost",
    "192.168.1.1",
]
TRICKS = """
    http://{}/ https://{}/ http://{}:80/ http://{}:443/ http://{}:8080/ http://{}:22/ http://{}./
    http://{}%2f@example.com/ http://example.com@{}/ http://example.com:80@{}/ http://example.com%40{}/
    http://example.com#@{}/ http://{}#.example.com/ http://{}?.example.com/ http://{}%23.example.com/
    http://{}%00.example.com/ http://{}%0d%0aHost:example.com/ //{}/ http:{}/ http:/{}/ http:///{}/ http:////{}/
    HTTP://{}/ hTtP://{}/ http://{}\\@example.com/ http://{}\\.example.com/ http://\\{}/
    http://{}%5c@example.com/ http://example.com;@{}/ http://[{}]/ http://{}\t/ http://{}\u3002/ http://{}:0/
    http://{}:65536/ http://{}:80:80/ http://{}:%38%30/ http://0{}/ http://{}%2e/ http://{}%20/
    http://example.com&@{}/ http://{}&@example.com/ http://*@{}/ http://@{}/ http://{},example.com/ ftp://{}/
    file://{}/etc/passwd gopher://{}/ ws://{}/ unix://{}/ jar:http://{}!/ view-source:http://{}/ url:http://{}/
""".split()
SPELLINGS = """
    http://0x7f000001/ http://0x7f.0x0.0x0.0x1/ http://0X7F000001/ http://017700000001/ http://0177.0.0.01/
    http://00000177.0.0.1/ http://2130706433/ http://127.1/ http://127.0.1/ http://127.000.000.001/
    http://127.0.0.1.nip.io:80/ http://①②⑦.⓪.⓪.①/ http://１２７.０.０.１/ http://127。0。0。1/ http://127｡0｡0｡1/
    http://127．0．0．1/ http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/ http://ｌｏｃａｌｈｏｓｔ/ http://LocalHost/ http://localhost.localdomain/
    http://ip6-localhost/ http://[::]/ http://[0:0:0:0:0:0:0:1]/ http://[0000::1]/ http://[::ffff:127.0.0.1]/
    http://[::ffff:7f00:1]/ http://[::127.0.0.1]/ http://[::7f00:1]/ http://[64:ff9b::127.0.0.1]/
    http://[64:ff9b:1::7f00:1]/ http://[2002:7f00:1::]/ http://[2002:a9fe:a9fe::]/ http://[2001:0:7f00:1::]/
    http://[fe80::1%25eth0]/ http://[fe80::1%eth0]/ http://[::1%25lo]/ http://[fd00:ec2::254]/
    http://[fd20:ce::254]/ http://[v1.127.0.0.1]/ http://[::1]./ http://2852039166/ http://0xa9fea9fe/
    http://0251.0376.0251.0376/ http://169.254.43518/ http://169.16689662/ http://425.510.425.510/
    http://7147006462/ http://100.100.100.200/ http://192.0.0.192/ http://168.63.129.16/ http://metadata/
    http://metadata.google.internal./ http://METADATA.google.INTERNAL/ http://kubernetes.default/ http://0/
    http://0.0.0.0/ http://0x/ http://1.1.1.1.1/ http://255.255.255.255/ http://224.0.0.1/ http://10.1/
    http://172.16.1/ http://192.168.257/ http://[::10.0.0.1]/ http://-/ http://./ http://../
    http://%31%32%37.0.0.1/
""".split()
TABLE = [
    *BLOCKED_URLS,
    *INVALID_URLS,
    *SPELLINGS,
    *(trick.format(host) for trick in TRICKS for host in HOSTS),
]


def fetcher(resolve: Callable[..., list[AddressInfo]], policy: UrlPolicy = OPEN) -> HttpSource:
    return HttpSource(FetchLimits(timeout_s=2, retries=0, max_bytes=10**6), policy, resolve)


def answering(*addresses: str) -> Callable[..., list[AddressInfo]]:
    """A resolver that gives one of `addresses` after the other, whatever it is asked for."""
    turn = itertools.cycle(addresses)

    def resolve(host: str, port: int, *_: object) -> list[AddressInfo]:
        return list(
            socket.getaddrinfo(
                next(turn), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        )

    return resolve


@contextmanager
def watched() -> Iterator[list[str]]:
    """The addresses that anything connects to meanwhile."""
    global _watching
    connections.clear()
    _watching = True
    try:
        yield connections
    finally:
        _watching = False


def refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except FetchError:
        return True
    return False


def test_the_table_is_as_large_as_it_says() -> None:
    assert len(set(TABLE)) + len(set(BLOCKED_ADDRESSES)) >= 500


@pytest.mark.parametrize("named", ["127.0.0.1", "169.254.169.254", "::1"])
def test_no_url_of_the_table_opens_a_connection(named: str) -> None:
    """Names of the table resolve to `named`, so that every trick ends in forbidden space."""
    attacked = fetcher(answering(named))
    with watched() as opened:
        for url in TABLE:
            assert refused(partial(attacked.read, url, Allowance.lasting(5))), url
            assert opened == [], url


@pytest.mark.parametrize(
    "address", [address for address in BLOCKED_ADDRESSES if "%" not in address]
)
def test_a_name_that_resolves_into_forbidden_space_opens_no_connection(address: str) -> None:
    attacked = fetcher(answering(address))
    with watched() as opened:
        assert refused(
            lambda: attacked.read("http://images.example.com/a.png", Allowance.lasting(5))
        )
        assert opened == []


def test_a_public_answer_beside_a_forbidden_one_does_not_help() -> None:
    def both(host: str, port: int, *_: object) -> list[AddressInfo]:
        return [*answering("1.1.1.1")(host, port), *answering("127.0.0.1")(host, port)]

    with watched() as opened:
        assert refused(
            lambda: fetcher(both).read("http://images.example.com/a.png", Allowance.lasting(5))
        )
        assert opened == []


def test_a_name_that_is_bound_anew_after_the_check_is_connected_to_where_it_was_checked(
    image_server: ImageServer,
) -> None:
    """The permitted network is the internet; every second answer is the metadata server."""
    port = image_server.url.rpartition(":")[2]
    policy = UrlPolicy(allow_networks=OPEN_LOOPBACK)
    attacked = fetcher(answering("127.0.0.1", "169.254.169.254"), policy)
    image_server.serve("/a.png", b"a")
    outcomes = []
    with watched() as opened:
        for number in range(40):
            url = f"http://images-{number}.example.com:{port}/a.png"
            outcomes.append(refused(partial(attacked.read, url, Allowance.lasting(5))))
    assert outcomes == [False, True] * 20
    assert {address.split("'")[1] for address in opened} == {"127.0.0.1"}


REDIRECTS = [*SPELLINGS, *(trick.format(host) for trick in TRICKS[:12] for host in HOSTS)]


def test_no_redirect_leads_into_forbidden_space(image_server: ImageServer) -> None:
    """From a permitted address to every URL of the table, by itself and behind two more hops."""
    policy = UrlPolicy(allow_networks=OPEN_LOOPBACK)
    attacked = fetcher(answering("169.254.169.254"), policy)
    own = image_server.url.removeprefix("http://")
    targets = [
        url
        for url in REDIRECTS
        if own not in url and "127." not in url and "0x7f" not in url.lower()
    ]
    with watched() as opened:
        for url in targets:
            for hops in (1, 3):
                start = image_server.redirect_to(url, hops)
                assert refused(partial(attacked.read, start, Allowance.lasting(5))), url
    port = own.rpartition(":")[2]
    assert {
        address for address in opened if "127.0.0.1" not in address or port not in address
    } == set()


def test_every_forbidden_network_is_forbidden_at_both_ends() -> None:
    for four in BLOCKED_IPV4:
        assert not is_public(four.network_address)
        assert not is_public(four.broadcast_address)
    for six in BLOCKED_IPV6:
        assert not is_public(six.network_address)
        assert not is_public(six.broadcast_address)
