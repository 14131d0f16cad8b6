"""Bodies in another encoding than UTF-8, which JSON should be in (RFC 8259, section 8.1).

Windows' own tools and older Java clients send UTF-16 or Latin-1, most of them with its name.
"""

import codecs
import json

from functions.errors import InvalidRequest

# Encodings of 8 bits and of East Asia: cheap to decode, and no codec among them is a compression.
NAMED = {
    *("iso8859-1", "iso8859-2", "iso8859-5", "iso8859-15", "koi8-r"),
    *("cp1250", "cp1251", "cp1252"),
    *("shift_jis", "cp932", "euc_jp", "gb2312", "gbk", "gb18030", "big5", "euc_kr", "cp949"),
}
_BOMS_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # those of UTF-32 begin with them, or with 0
_NUL = b"\0"


def in_utf8(body: bytes, charset: str) -> bytes:
    """`body` in UTF-8, if it is in UTF-16, UTF-32 or one of NAMED.

    `charset` is what the content type says, or empty. A body that is UTF-8 stays as it is whatever
    its content type says. Raises InvalidRequest if the body is in no encoding that is known here.
    """
    if body.startswith(_BOMS_16) or _NUL in body[:4]:
        encoding: str = json.detect_encoding(body)
    elif (fault := _utf8_fault(body)) is None:
        return body
    elif not charset:
        raise InvalidRequest(f"the body is not UTF-8: byte {fault} is wrong")
    else:
        encoding = _known(charset)
    try:
        return body.decode(encoding).encode()
    except UnicodeError as error:
        raise InvalidRequest(f"the body is neither UTF-8 nor {encoding}") from error


def _utf8_fault(body: bytes) -> int | None:
    """The position of the first byte that is not UTF-8; None if all are."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


def _known(charset: str) -> str:
    try:
        name = codecs.lookup(charset[:40]).name
    except LookupError:
        name = ""
    if name not in NAMED:
        raise InvalidRequest(
            f"the body is not UTF-8, and its charset {charset[:40]!r} is not known"
        )
    return name
