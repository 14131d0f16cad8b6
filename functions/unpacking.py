"""Unpacks gzip bodies within limits."""

import zlib
from collections.abc import Callable

from common.errors import Overloaded
from functions.errors import InvalidRequest, UnsupportedMediaType

CODINGS = ("gzip", "x-gzip")  # HTTP's two names of it
PIECE_BYTES = 2**20
_GZIP_WBITS = 31  # zlib's 15 for the largest window, and 16 for gzip's header
FAULT = "the body is not valid gzip, as its Content-Encoding says, or it ends early"


def check_coding(coding: str) -> None:
    """Raise UnsupportedMediaType unless `coding`, a Content-Encoding, is gzip."""
    if coding not in CODINGS:
        raise UnsupportedMediaType(
            f"the content encoding {coding[:100]!r} is not supported; "
            "send the body with gzip, or without Content-Encoding"
        )


def unpack(packed: bytes, max_bytes: int, reserve: Callable[[int], bool]) -> bytes:
    """The content of a gzip body, or its first `max_bytes` and one more if it is longer.

    `reserve` says whether so many more bytes of memory are free. A body has one member only: a
    million empty ones would cost much time. Raises InvalidRequest or Overloaded.
    """
    unpacker = zlib.decompressobj(_GZIP_WBITS)
    whole = bytearray()
    try:
        while packed and not unpacker.eof and len(whole) <= max_bytes:
            piece = unpacker.decompress(packed, min(PIECE_BYTES, max_bytes + 1 - len(whole)))
            packed = unpacker.unconsumed_tail
            if not reserve(len(piece)):
                raise Overloaded("no memory is free to unpack the request body", 1)
            whole += piece
    except zlib.error as error:
        raise InvalidRequest(FAULT) from error
    if len(whole) <= max_bytes and (not unpacker.eof or unpacker.unused_data):
        raise InvalidRequest(FAULT)
    return bytes(whole)
