"""Recognises and decompresses the bytes of a response, whatever its headers say.

Servers often label images wrongly, and browsers show them all the same. So the first bytes decide
here too; the labels only serve to explain a refusal.
"""

import zlib
from collections.abc import Callable, Iterator

from common.errors import BadResponse, BodyTooLarge, UnsupportedType
from common.images.formats import sniff

SNIFF_BYTES = 256  # AVIF names its brands up to here
INFLATE_BYTES = 64 * 1024  # most bytes to inflate at a time
MAX_CODINGS = 3
MAX_MEMBERS = 1000  # of a gzip file; each copies the rest of its chunk

GZIP_MAGIC = b"\x1f\x8b"
GZIP_WINDOW = 16 + zlib.MAX_WBITS  # zlib's number for "with gzip's header"
UNREAD_CODINGS = ("br", "zstd", "compress", "x-compress", "dcb", "dcz")
REFUSED_TYPES = (
    "text/",
    "application/json",
    "application/xml",
    "application/xhtml",
    "image/svg",
    "video/",
    "audio/",
)


def check_content_type(kind: str, head: bytes) -> None:
    """Raise UnsupportedType for a web page or a document that is labelled as one.

    `kind` is the media type in lower case; `head` is the first SNIFF_BYTES bytes. Images pass under
    any label. Other content with other labels also passes, and the decoder refuses it.
    """
    if kind.startswith(REFUSED_TYPES) and not sniff(head):
        raise UnsupportedType(f"the content type is {kind[:60]}, expected an image")


def decoded(
    chunks: Iterator[bytes], header: str, max_bytes: int, check_time: Callable[[], object]
) -> Iterator[bytes]:
    """Undo the content codings that a `Content-Encoding` header names, in small pieces.

    A coding is ignored as a wrong label if the bytes do not show it: `gzip` on a plain image, or
    `aws-chunked`, `UTF-8` and `none`. `max_bytes` bounds the inflated size of each coding.
    `check_time` is called before each step and raises when the time is over. Raises BodyTooLarge,
    BadResponse and UnsupportedType.
    """
    codings = [coding.strip() for coding in header.lower().split(",") if coding.strip(" \t")]
    if len(codings) > MAX_CODINGS:
        raise UnsupportedType(f"the image is compressed more than {MAX_CODINGS} times")
    for coding in reversed(codings):
        chunks = _without(chunks, coding, max_bytes, check_time)
    return chunks


def _without(
    chunks: Iterator[bytes], coding: str, max_bytes: int, check_time: Callable[[], object]
) -> Iterator[bytes]:
    head = _head(chunks)
    rest = _after(head, chunks)
    inflating = _decompressor(coding, head)
    if inflating is not None:
        return _inflated(rest, inflating, max_bytes, check_time)
    if coding in UNREAD_CODINGS and not sniff(head):
        raise UnsupportedType(
            f"the image is compressed with {coding}; supported encodings: gzip, deflate"
        )
    return rest


def _head(chunks: Iterator[bytes]) -> bytes:
    """The first chunks, until they have SNIFF_BYTES."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= SNIFF_BYTES:
            break
    return head


def _after(head: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from chunks


def _decompressor(coding: str, head: bytes) -> "Callable[[], zlib._Decompress] | None":
    """A factory of decompressors for data that starts with `head`; None if not compressed."""
    if head.startswith(GZIP_MAGIC):
        return lambda: zlib.decompressobj(GZIP_WINDOW)
    if coding != "deflate" or sniff(head):
        return None
    for window in (zlib.MAX_WBITS, -zlib.MAX_WBITS):  # with zlib's header (standard), or without
        try:
            zlib.decompressobj(window).decompress(head, INFLATE_BYTES)
        except zlib.error:
            continue
        return lambda: zlib.decompressobj(window)
    return None


def _inflated(
    chunks: Iterator[bytes],
    start: "Callable[[], zlib._Decompress]",
    max_bytes: int,
    check_time: Callable[[], object],
) -> Iterator[bytes]:
    """Inflate all members of a gzip file, or the one stream of deflate, piece by piece."""
    stream, size, members = start(), 0, 1
    for chunk in chunks:
        while chunk:
            if stream.eof and not chunk.startswith(GZIP_MAGIC[:1]):
                return  # gzip programs ignore trailing data too
            if stream.eof:
                members += 1
                stream = start()
            for piece in _pieces(stream, chunk, check_time):
                size += len(piece)
                yield piece
            _check_inflated(size, members, max_bytes)
            chunk = stream.unused_data
    if not stream.eof:
        raise BadResponse("the compressed image ends early", reason="zlib", retryable=False)


def _check_inflated(size: int, members: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise BodyTooLarge(f"the image is larger than the limit of {max_bytes:,} bytes")
    if members > MAX_MEMBERS:
        raise BadResponse("the image is compressed in too many parts", retryable=False)


def _pieces(
    stream: "zlib._Decompress", chunk: bytes, check_time: Callable[[], object]
) -> Iterator[bytes]:
    """Inflate `chunk` with `stream`, in pieces. Raises BadResponse."""
    more = True
    while more:
        check_time()
        try:
            piece = stream.decompress(chunk, INFLATE_BYTES)
        except zlib.error as error:
            message = "the image's compression is broken"
            raise BadResponse(message, reason="zlib", retryable=False) from error
        if piece:
            yield piece
        chunk = stream.unconsumed_tail
        more = bool(chunk) or len(piece) == INFLATE_BYTES
