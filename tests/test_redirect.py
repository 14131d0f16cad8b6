"""Where a redirect leads, as browsers read Location."""

import pytest

from common.errors import BadResponse, InvalidUrl
from common.images.redirect import redirect_target

BASE = "https://a.example/dir/page?q"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        (b"/b c.png", "https://a.example/b%20c.png"),
        (b"b%20c.png?x=1 2", "https://a.example/dir/b%20c.png?x=1%202"),
        (b"/100%.png", "https://a.example/100%.png"),
        (b"/caf\xe9.png", "https://a.example/caf%E9.png"),
        (b"/caf\xc3\xa9.png", "https://a.example/caf%C3%A9.png"),
        (b"  /a\t\n.png ", "https://a.example/a.png"),
        (b"//b.example/x", "https://b.example/x"),
        (b"http://b.example/x y", "http://b.example/x%20y"),
        (b"https://b\xc3\xbccher.example/\xfc", "https://b\u00fccher.example/%FC"),
        (b"?other", "https://a.example/dir/page?other"),
        (b"/x#part", "https://a.example/x#part"),
    ],
)
def test_a_location_is_escaped_byte_by_byte_and_joined(location: bytes, target: str) -> None:
    assert redirect_target(BASE, [location.decode("latin-1")]) == target


def test_an_empty_location_is_none_and_equal_ones_are_one() -> None:
    assert redirect_target(BASE, []) is None
    assert redirect_target(BASE, ["", " \t"]) is None
    assert redirect_target(BASE, ["/x", "", " /x"]) == "https://a.example/x"


def test_different_locations_are_a_broken_answer() -> None:
    with pytest.raises(BadResponse) as raised:
        redirect_target(BASE, ["/x", "/y"])
    assert not raised.value.retryable


@pytest.mark.parametrize(
    "location", ["http://[::1/", "//[", "http://\xff\xfe/", "//exa\xe2\x84\x80mple/"]
)
def test_what_is_no_url_is_invalid(location: str) -> None:
    with pytest.raises(InvalidUrl):
        redirect_target(BASE, [location])
