"""Decides which URLs and addresses may be fetched. Pure functions; transport.py applies them."""

import fnmatch
import hashlib
import ipaddress
import re
import string
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from common.errors import BlockedUrl, InvalidUrl

if TYPE_CHECKING:
    from urllib3.util import Url

PORTS = {"http": 80, "https": 443}
MAX_URL_CHARS = 8192  # presigned URLs have over 2,048
MAX_NAME_CHARS = 253  # of a host, RFC 1035
MAX_LABEL_CHARS = 63
MAX_SHOWN_CHARS = 200
MAX_SHOWN_DATA_CHARS = 40

# IANA's special-purpose registries and the clouds' metadata addresses. Python's is_private and
# is_global change between patch releases, and treat NAT64 and 6to4 addresses as global.
_BLOCKED_IPV4 = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 168.63.129.16/32 169.254.0.0/16 172.16.0.0/12
    192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16
    192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 199.36.153.0/24 203.0.113.0/24 224.0.0.0/3
"""
# Global unicast without its special blocks. This excludes mapped, NAT64, Teredo, unique-local and
# link-local addresses.
_ALLOWED_IPV6 = "2000::/3"
_BLOCKED_IPV6 = "2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20"
_BLOCKED_SUFFIXES = (
    ".internal",
    ".local",
    ".localhost",
    ".localdomain",
    ".lan",
    ".home.arpa",
    ".onion",
    ".svc",
    ".cluster.local",
)
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]|[^\S ]")  # whitespace, control characters, backslash
_STRAY_PERCENT = re.compile(r"%(?![0-9a-f]{2})", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_BASE64_LETTERS = (string.ascii_letters + string.digits + "+/-_").encode()
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64_LETTERS + b"="))
_BASE64_START = re.compile(r"\s*[\w+/-]{64}|\s*(?:iVBORw0KGgo|/9j/|UklGR|R0lGOD)", re.ASCII)
_NUMERIC_LABEL = re.compile(r"0x[0-9a-f]*|\d+", re.IGNORECASE)

BLOCKED_IPV4 = tuple(IPv4Network(network) for network in _BLOCKED_IPV4.split())
BLOCKED_IPV6 = tuple(IPv6Network(network) for network in _BLOCKED_IPV6.split())
ALLOWED_IPV6 = IPv6Network(_ALLOWED_IPV6)

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class UrlPolicy:
    """The operator's restrictions and permissions for downloads.

    `allow_hosts`: patterns such as *.example.com; if there are any, all other hosts are blocked.
    `allow_networks`: private networks that are permitted, on any port.
    """

    allow_hosts: tuple[str, ...] = ()
    allow_networks: tuple[IPv4Network | IPv6Network, ...] = ()


def check_url(url: str, policy: UrlPolicy) -> "Url":
    """Check and parse `url`; returns it escaped as it is sent.

    Raises InvalidUrl if it is invalid or not supported, BlockedUrl if it is forbidden. The
    addresses that its host resolves to are checked later, by `check_address`.
    """
    from urllib3.exceptions import LocationParseError  # a start that gets texts needs no urllib3
    from urllib3.util import parse_url

    if len(url) > MAX_URL_CHARS:
        raise InvalidUrl(f"the URL has {len(url):,} characters, the limit is {MAX_URL_CHARS:,}")
    if _FORBIDDEN.search(url):
        raise InvalidUrl("the URL contains white space, a control character or a backslash")
    try:
        parsed = parse_url(_STRAY_PERCENT.sub("%25", url))  # else urllib3 escapes every %XX again
        port = parsed.port  # urllib3 checks its range
    except LocationParseError as error:
        raise InvalidUrl("this is not a valid URL") from error
    if parsed.scheme not in PORTS:
        supported = ", ".join(PORTS)
        raise InvalidUrl(f"the URL's scheme is not supported; supported: {supported}, data, gs")
    if not parsed.host:
        raise InvalidUrl("the URL has no host")
    if parsed.auth is not None:
        raise BlockedUrl("user information")
    _check_host(parsed.host.strip("[]").lower(), policy)
    if port not in (None, PORTS[parsed.scheme]) and not policy.allow_networks:
        raise BlockedUrl("port")
    return parsed


def _check_host(host: str, policy: UrlPolicy) -> None:
    if policy.allow_hosts and not any(
        fnmatch.fnmatchcase(host, pattern.lower()) for pattern in policy.allow_hosts
    ):
        raise BlockedUrl("host is not on the allow-list")
    address = _literal(host)
    if address is not None:
        if not _permitted(address, policy) and not is_public(address):
            raise BlockedUrl("address")
        return
    name = host.rstrip(".")
    if not _is_name(name):
        raise InvalidUrl("the URL's host name is not valid")
    # Resolvers read names such as 127.1, 0x7f.1 and 2130706433 as addresses.
    if _NUMERIC_LABEL.fullmatch(name.rpartition(".")[2]):
        raise BlockedUrl("number for a name")
    if policy.allow_networks:
        return  # private networks have internal names; their addresses are still checked
    if "." not in name or name.endswith(_BLOCKED_SUFFIXES):
        raise BlockedUrl("internal name")


def _is_name(name: str) -> bool:
    """Whether `name` has valid lengths; resolvers refuse long names, and long or empty labels."""
    labels = name.split(".")
    return len(name) <= MAX_NAME_CHARS and all(0 < len(one) <= MAX_LABEL_CHARS for one in labels)


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether anyone on the internet could own this address."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in BLOCKED_IPV4)
    if address.scope_id is not None or address not in ALLOWED_IPV6:
        return False
    if any(address in network for network in BLOCKED_IPV6):
        return False
    return not any(_is_inside(four) for four in embedded_ipv4(address))


def embedded_ipv4(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that a global IPv6 address may carry, whatever its prefix.

    ISATAP's interface identifier is 0:5efe or 200:5efe and the address (RFC 5214; the two bits of
    0x03 vary). A network's own NAT64 prefix has 32 to 96 bits (RFC 6052, section 2.2). The address
    follows the prefix; bits 64 to 71 and all bits after the address are zero. Addresses with a
    fixed prefix (mapped, 6to4, Teredo, 64:ff9b::) are never public. A provider's 6rd prefix looks
    like any other prefix.
    """
    number = int(address)
    found = []
    if (number >> 32) & 0xFCFF_FFFF == 0x0000_5EFE:
        found.append(number & 0xFFFF_FFFF)
    if (number >> 32) & 0xFFFF_FFFF == 0:
        found.append(number & 0xFFFF_FFFF)  # after a prefix of 96 bits
    head, tail = number >> 64, number & (2**64 - 1)
    for prefix_bits in (32, 40, 48, 56, 64):
        tail_bits = prefix_bits - 32  # of the address, after the zero octet
        if tail & (2 ** (56 - tail_bits) - 1) == 0 and tail >> 56 == 0:
            above = head & (2 ** (64 - prefix_bits) - 1)
            found.append(above << tail_bits | tail >> (56 - tail_bits))
    return [IPv4Address(one) for one in found]


def _is_inside(address: IPv4Address) -> bool:
    """Whether an embedded IPv4 address belongs to a network that is not public.

    Addresses in 0.0.0.0/8 and 224.0.0.0/3 do not count: ordinary IPv6 addresses such as `…::1` have
    such bits in that place.
    """
    return not is_public(address) and 1 <= int(address) >> 24 < 224


def _permitted(address: Address, policy: UrlPolicy) -> bool:
    return any(
        address.version == network.version and address in network
        for network in policy.allow_networks
    )


def check_address(text: str, scheme_port: int, port: int, policy: UrlPolicy) -> None:
    """Raise BlockedUrl unless a socket may connect to the address `text` on `port`."""
    address = _literal(text)
    if address is None:
        raise BlockedUrl("not an address")
    if _permitted(address, policy):
        return
    if port != scheme_port:
        raise BlockedUrl("port")
    if not is_public(address):
        raise BlockedUrl("address")


def redact(url: str) -> str:
    """`url` as it may be shown, shortened and without query string, fragment and credentials.

    A `data:` URL is cut to its first characters.
    """
    if url[:5].lower() == "data:":
        return url if len(url) <= MAX_SHOWN_DATA_CHARS else url[:MAX_SHOWN_DATA_CHARS] + "…"
    bare = re.split(r"[?#]", url[: 2 * MAX_URL_CHARS], maxsplit=1)[0]
    bare = re.sub(r"//[^/]*@", "//", bare)
    return bare if len(bare) <= MAX_SHOWN_CHARS else bare[:MAX_SHOWN_CHARS] + "…"


def as_url(image: str, *, tolerant: bool = False) -> str:
    """Convert `image`, a URL or bare base64, to a URL; white space around it is dropped.

    With `tolerant`, base64 is read as by Python's lenient decoder, and so by Weaviate's own
    container. It skips characters outside the alphabet, and ignores everything after the padding.
    """
    image = image.strip()
    if _SCHEME.match(image):
        return image
    if tolerant:
        letters = image.encode("ascii", "ignore").translate(None, _NOT_BASE64)
        image = letters.lstrip(b"=").partition(b"=")[0].decode("ascii")
    return f"data:;base64,{image}"


def looks_like_base64(image: str) -> bool:
    """Whether `image` is bare base64 rather than a URL, by its beginning."""
    return bool(_BASE64_START.match(image))


def host_of(url: str) -> str:
    """The host of `url` for the log; empty if it has none."""
    if url[:5].lower() == "data:":
        return ""
    try:
        return (urlsplit(url[:MAX_URL_CHARS]).hostname or "")[:MAX_SHOWN_CHARS]
    except ValueError:
        return ""


def hash_of(url: str) -> str:
    """12 hex digits that identify `url` in the log, which must not show its path or query."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:12]
