"""Reads the head of an HTTP response as browsers do, within a size limit."""

import http.client
import re
from typing import Any

from common.errors import BadResponse, BodyTooLarge
from common.images.metered import MeteredSocket, TlsSocket

HEAD_BYTES = 256 * 1024  # http.client only bounds each line
SWITCHING_PROTOCOLS = 101

_HEADER_LINE = re.compile(rb"[!-9;-~]+:|[ \t]|\r?\n")  # a name with colon, a continuation, the end
_SPACE_BEFORE_COLON = re.compile(rb"^([!-9;-~]+)[ \t]+:")


class _HeaderLines:
    """A response's file that skips header lines without a colon, as browsers do.

    `http.client` would end the headers at the first such line, and miss the headers after it.
    """

    def __init__(self, file: Any) -> None:
        self.file = file

    def readline(self, limit: int = -1, /) -> bytes:
        """The next valid header line; empty at the end of the file."""
        while True:
            line: bytes = _SPACE_BEFORE_COLON.sub(rb"\1:", self.file.readline(limit))
            if not line or _HEADER_LINE.match(line):
                return line

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class Response(http.client.HTTPResponse):
    """http.client's response, which skips every 1xx response, not only 100."""

    def __init__(self, sock: MeteredSocket | TlsSocket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)  # type: ignore[arg-type]
        self._budget = sock.budget

    def begin(self) -> None:
        """Read the status line and the headers. Raises BadResponse above HEAD_BYTES."""
        try:
            with self._budget.at_most(HEAD_BYTES):
                super().begin()
        except BodyTooLarge as error:
            message = f"the response's headers are larger than {HEAD_BYTES >> 10} KiB"
            raise BadResponse(message, retryable=False) from error
        if isinstance(self.fp, _HeaderLines):
            self.fp = self.fp.file
        self.msg.defects.clear()  # urllib3 would log them with the server's text
        self.msg.set_payload("")

    def _read_status(self) -> tuple[str, int, str]:
        """The status of the final response; 1xx responses are dropped (RFC 9110, 15.2)."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == SWITCHING_PROTOCOLS:
                self.fp = _HeaderLines(self.fp)  # type: ignore[assignment]
                return version, status, reason
            http.client.parse_headers(_HeaderLines(self.fp))

    def _safe_read(self, amt: int) -> bytes:
        """Bytes of a chunk. A negative size would read up to the end of the connection."""
        if amt < 0:
            raise ValueError("a chunk of negative size")
        data: bytes = super()._safe_read(amt)  # type: ignore[misc]
        return data
