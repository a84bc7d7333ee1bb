"""An answer as the bytes of HTTP/1.1."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from producer.gateway.answers import Answer

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}
_OK: Final = _LINES[200]


class Dates:
    """The `date` header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._line = ""

    def line(self, now_s: float) -> str:
        """The header with its end of line; `now_s` is Unix time."""
        second = int(now_s)
        if second != self._second:
            self._second = second
            self._line = f"date: {formatdate(second, usegmt=True)}\r\n"
        return self._line


def encode(answer: Answer, date: str, *, close: bool, bodiless: bool) -> bytes:
    """The whole answer. `date` is a header line; `bodiless`: to a HEAD request."""
    body = answer.body
    lines = [_OK if answer.status == 200 else _LINES[answer.status]]
    for name, value in answer.headers:
        lines.append(f"{name}: {value}\r\n")
        if name == "connection":
            close = False  # It says so itself.
    if close:
        lines.append("connection: close\r\n")
    lines.append(f"content-length: {len(body)}\r\n{date}\r\n")
    head = "".join(lines).encode("latin-1")
    return head if bodiless else head + body
