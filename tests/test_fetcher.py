"""HttpSource: images from friendly and hostile servers, within one deadline and one byte budget."""

import io
import socket
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_network

import pytest

from common.allowance import Allowance
from common.errors import (
    BadResponse,
    BlockedUrl,
    BodyTooLarge,
    ConnectFailed,
    DnsFailure,
    FetchError,
    FetchTimeout,
    HttpStatus,
    InvalidUrl,
    TooManyRedirects,
    UnsupportedType,
)
from common.images.http_source import HttpSource
from common.images.limits import FetchLimits
from common.images.memory_budget import LARGE_BYTES, LARGE_FILES, LargeTurns
from common.images.transport import RESOLVER_THREADS, AddressInfo
from common.images.url_policy import UrlPolicy
from tests.image_server import ImageServer, picture

LOOPBACK = UrlPolicy(allow_networks=(ip_network("127.0.0.0/8"),))


def make(
    policy: UrlPolicy = LOOPBACK,
    timeout_s: float = 5,
    retries: int = 2,
    max_bytes: int = 2**20,
    resolve: object = None,
    slow_s: float = 60,
) -> HttpSource:
    limits = FetchLimits(
        timeout_s=timeout_s,
        retries=retries,
        max_bytes=max_bytes,
        user_agent="test/1 (+https://example.com)",
    )
    return HttpSource(limits, policy, resolve or socket.getaddrinfo, slow_s)  # type: ignore[arg-type]


def later(seconds: float = 30) -> Allowance:
    return Allowance.lasting(seconds)


def resolving_to(*addresses: str) -> object:
    """A resolver that gives these answers, one set a call when they hold a `|`."""
    answers = iter(addresses)

    def resolve(host: str, port: int, *rest: object) -> list[AddressInfo]:
        listed = next(answers).split(",")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in listed]

    return resolve


def test_a_slow_download_is_a_warning_with_host_and_seconds_and_no_query(
    image_server: ImageServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = image_server.serve("/a.png", picture())
    for slow_s in (60, 0):
        fetcher = make(slow_s=slow_s)
        fetcher.read(url + "?token=secret", later())
    (record,) = [record for record in caplog.records if record.message == "slow download"]
    fields = vars(record)
    assert (record.levelname, fields["host"]) == ("WARNING", "127.0.0.1")
    assert fields["seconds"] >= 0
    assert "secret" not in str(fields)


@pytest.mark.parametrize(
    "content_type", ["image/png", "application/octet-stream", "binary/octet-stream", ""]
)
def test_an_image_comes_back_byte_for_byte(image_server: ImageServer, content_type: str) -> None:
    url = image_server.serve("/a.png", picture(), content_type)
    assert make().read(url, later()) == picture()
    assert image_server.headers_seen["/a.png"]["User-Agent"] == "test/1 (+https://example.com)"


def test_redirects_are_followed_up_to_a_limit(image_server: ImageServer) -> None:
    assert make().read(image_server.url + "/redirect/10", later()) == picture()
    with pytest.raises(TooManyRedirects):
        make().read(image_server.url + "/redirect/11", later())
    with pytest.raises(TooManyRedirects):
        make().read(image_server.url + "/loop", later())


def test_a_failure_that_passes_is_tried_again(image_server: ImageServer) -> None:
    assert make(retries=2).read(image_server.url + "/flaky", later()) == picture()
    assert image_server.requests["/flaky"] == 3


def test_other_statuses_are_final_and_named(image_server: ImageServer) -> None:
    with pytest.raises(HttpStatus, match="the server answered 404") as raised:
        make().read(image_server.url + "/gone.png", later())
    assert not raised.value.retryable
    assert image_server.requests["/gone.png"] == 1
    with pytest.raises(HttpStatus, match="the server answered 500") as raised:
        make().read(image_server.url + "/broken", later())
    assert raised.value.retryable


@pytest.mark.parametrize("path", ["/drip", "/drip-headers", "/silent"])
def test_a_slow_server_costs_no_more_than_the_deadline(
    image_server: ImageServer, path: str
) -> None:
    """The host would go on for ever, or for 30 s."""
    with pytest.raises(FetchTimeout):
        make(timeout_s=0.5).read(image_server.url + path, later())


def test_the_requests_own_deadline_counts_too(image_server: ImageServer) -> None:
    with pytest.raises(FetchTimeout):
        make(timeout_s=30).read(image_server.url + "/drip", later(0.3))


@pytest.mark.parametrize("path", ["/endless", "/huge-length"])
def test_a_body_over_the_limit_is_cut_off(image_server: ImageServer, path: str) -> None:
    with pytest.raises(BodyTooLarge, match=r"limit"):
        make(max_bytes=200_000).read(image_server.url + path, later())


def test_a_flood_of_headers_is_cut_off(image_server: ImageServer) -> None:
    with pytest.raises(FetchError) as raised:
        make().read(image_server.url + "/header-flood", later())
    assert raised.value.code in ("too_large", "bad_response")


def test_a_body_is_measured_after_inflating(image_server: ImageServer) -> None:
    class Bomb(ImageServer):
        pass

    bomb = zlib.compress(bytes(5_000_000))
    image_server.answer_bomb = lambda handler: handler.reply(  # type: ignore[attr-defined]
        200, bomb, Content_Type="image/png", Content_Encoding="deflate"
    )
    with pytest.raises(BodyTooLarge):
        make(max_bytes=2**20).read(image_server.url + "/bomb", later())


@pytest.mark.parametrize("path", ["/html", "/brotli"])
def test_what_cannot_be_an_image_is_refused_by_its_headers(
    image_server: ImageServer, path: str
) -> None:
    with pytest.raises(UnsupportedType):
        make().read(image_server.url + path, later())


def test_a_truncated_body_is_an_error_not_half_an_image(image_server: ImageServer) -> None:
    with pytest.raises(BadResponse):
        make(retries=0).read(image_server.url + "/liar", later())


def test_refused_and_reset_connections_are_named(image_server: ImageServer) -> None:
    with pytest.raises(ConnectFailed):
        make(retries=0).read(image_server.url + "/reset", later())
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectFailed):
            make(retries=0).read(f"http://127.0.0.1:{unused.getsockname()[1]}/a.png", later())


def test_a_redirect_into_forbidden_space_is_blocked(image_server: ImageServer) -> None:
    with pytest.raises(BlockedUrl):
        make().read(image_server.url + "/metadata", later())
    with pytest.raises(FetchError, match="scheme"):
        make().read(image_server.url + "/file-scheme", later())


def test_a_name_that_resolves_to_a_private_address_is_blocked_before_any_connection(
    image_server: ImageServer,
) -> None:
    port = image_server.server_address[1]
    for answers in ("127.0.0.1", "93.184.216.34,10.0.0.1"):
        fetcher = make(UrlPolicy(), resolve=resolving_to(answers))
        with pytest.raises(BlockedUrl) as raised:
            fetcher.read("http://images.example.com/a.png", later())
        message = "this URL points to an address that this service does not fetch from"
        assert str(raised.value) == message
    assert not image_server.requests, port


def test_the_address_that_was_checked_is_the_one_that_is_used(image_server: ImageServer) -> None:
    """A name is resolved once per connection, so a forbidden second answer is never used."""
    image_server.serve("/a.png", picture())
    host = f"http://rebinding.example.com:{image_server.server_address[1]}"
    fetcher = make(LOOPBACK, resolve=resolving_to("127.0.0.1", "10.0.0.1"))
    assert fetcher.read(host + "/a.png", later()) == picture()
    other = make(LOOPBACK, resolve=resolving_to("10.0.0.1"))
    with pytest.raises(BlockedUrl):
        other.read(host + "/a.png", later())


def test_a_name_without_an_address_is_a_dns_failure() -> None:
    def resolve(*_: object) -> list[AddressInfo]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(DnsFailure) as raised:
        make(UrlPolicy(), resolve=resolve).read("http://nowhere.example.com/a.png", later())
    assert not raised.value.retryable


def test_the_environment_has_no_say(
    image_server: ImageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert make().read(image_server.serve("/a.png", picture()), later()) == picture()


def test_connections_are_kept_and_shared(image_server: ImageServer) -> None:
    fetcher = make()
    urls = [image_server.serve(f"/{number}.png", picture()) for number in range(5)]
    assert all(fetcher.read(url, later()) == picture() for url in urls)
    assert image_server.connections == 1


def test_a_host_gets_four_connections_at_a_time_and_no_more(image_server: ImageServer) -> None:
    fetcher = make()
    with ThreadPoolExecutor(12) as pool:
        urls = [f"{image_server.url}/gated?{number}" for number in range(12)]
        fetched = [pool.submit(fetcher.read, url, later()) for url in urls]
        with image_server.changed:
            assert image_server.changed.wait_for(
                lambda: image_server.requests["/gated"] == 4, timeout=30
            )
        image_server.gate.set()
        assert all(one.result() == picture() for one in fetched)
    assert image_server.connections == 4


def test_a_resolver_that_is_silent_takes_a_bounded_number_of_threads_and_recovers() -> None:
    gate, lock, asked = threading.Event(), threading.Lock(), []

    def resolve(host: str, port: int, *_: object) -> list[AddressInfo]:
        with lock:
            asked.append(host)
        gate.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", port))]

    fetcher = make(UrlPolicy(), timeout_s=0.3, retries=0, resolve=resolve)
    with ThreadPoolExecutor(3 * RESOLVER_THREADS) as pool:
        urls = [f"http://images-{number}.example.com/" for number in range(3 * RESOLVER_THREADS)]
        reads = [pool.submit(fetcher.read, url, later()) for url in urls]
        failures = [read.exception() for read in reads]
    codes = [failure.code for failure in failures if isinstance(failure, FetchError)]
    assert codes == ["timeout"] * 3 * RESOLVER_THREADS  # the name may be good
    assert len(asked) == RESOLVER_THREADS
    gate.set()
    with pytest.raises(BlockedUrl):
        make(UrlPolicy(), retries=0, resolve=resolve).read("http://images.example.com/", later())


@pytest.mark.parametrize(
    "location", ["http://[::1/", "//[", "http://exa\u2100mple.com/", "http://a:b:c/"]
)
def test_a_redirect_to_what_is_no_url_is_an_invalid_url(
    image_server: ImageServer, location: str
) -> None:
    with pytest.raises(InvalidUrl):
        make().read(image_server.redirect_to(location), later())


def test_a_body_takes_its_turn_by_what_is_received_however_it_is_framed(
    image_server: ImageServer,
) -> None:
    """A turn that never comes ends a large download, in headers, chunk lines or body."""
    turns = LargeTurns()
    others = [turns.turn() for _ in range(LARGE_FILES)]
    assert all(turn.take(0) for turn in others)
    try:
        small, large = (
            image_server.serve("/a", picture()),
            image_server.serve("/b", bytes(LARGE_BYTES + 1)),
        )
        fetcher = make(max_bytes=2 * LARGE_BYTES, timeout_s=0.5)
        assert fetcher.read(small, later().taking(turns.turn())) == picture()
        with pytest.raises(FetchTimeout, match="other large downloads"):
            fetcher.read(large, later().taking(turns.turn()))
    finally:
        for turn in others:
            turn.__exit__()


def test_errors_hold_no_query_string(image_server: ImageServer) -> None:
    with pytest.raises(FetchError) as raised:
        make(retries=0).read(image_server.url + "/reset?token=secret", later())
    assert "secret" not in str(raised.value) + raised.value.reason


def test_a_body_in_many_tiny_pieces_is_cut_off(image_server: ImageServer) -> None:
    def tiny(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        piece = io.BytesIO(b"1\r\na\r\n" * 50_000).getvalue()
        handler.wfile.write(piece)

    image_server.answer_tiny = tiny  # type: ignore[attr-defined]
    with pytest.raises(FetchError):
        make(timeout_s=5).read(image_server.url + "/tiny", later())
