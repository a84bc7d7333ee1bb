"""What is asked: a request whose headers can do nothing but what they are for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from producer.outgoing.answers import FailureKind, OutgoingFailure
from producer.outgoing.target import Target

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_WITH_CONTENT: Final = frozenset({"POST", "PUT", "PATCH"})
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,200}")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]{0,16384}")
#: How a request is framed and where it goes is ours: a customer may name a header.
_OURS: Final = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer",
        "upgrade", "expect", "accept-encoding", "proxy-authorization", "proxy-connection",
    }
)  # fmt: skip
#: Say nothing of who asks, and are kept when a redirect leaves the origin.
_HARMLESS: Final = frozenset({"accept", "accept-language", "user-agent"})
_DEFAULTS: Final = {"user-agent": "Hookline", "accept": "*/*"}


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """Method, headers (lower case) and content of one request."""

    method: str
    headers: Mapping[str, str]
    content: bytes | None

    def wire_headers(self, target: Target) -> list[tuple[str, str]]:
        """As they are sent to `target`."""
        ours = {"host": target.authority, "accept-encoding": "gzip", "connection": "close"}
        if self.content is not None or self.method in _WITH_CONTENT:
            ours["content-length"] = str(len(self.content or b""))
        return [*ours.items(), *{**_DEFAULTS, **self.headers}.items()]


def outgoing(method: str, headers: Mapping[str, str], content: bytes | None, host: str) -> Outgoing:
    """The request; OutgoingFailure (REQUEST_MALFORMED) where a part of it cannot be sent.

    A header's value is a credential more often than not: it is in no text.
    """
    if method.upper() not in _METHODS:
        raise _malformed("the request has a method that we do not use", host)
    checked: dict[str, str] = {}
    for name, written in headers.items():
        lower, value = name.lower(), written.strip(" \t")
        if not _NAME.fullmatch(name):
            raise _malformed("the request has a header whose name cannot be sent", host)
        if lower in _OURS:
            raise _malformed(f"the header {name} cannot be set", host)
        if lower in checked:
            raise _malformed(f"the header {name} is there twice", host)
        if not _VALUE.fullmatch(value):
            raise _malformed(
                f"what the header {name} is to hold has a line break, or a letter that no "
                "credential has, in it: copy it again",
                host,
            )
        checked[lower] = value
    return Outgoing(method=method.upper(), headers=checked, content=content)


def sent_on(request: Outgoing, status: int, *, same_origin: bool) -> Outgoing | None:
    """What follows a redirect; None where content would go to another origin (307, 308).

    What was given is gone with the first step to another origin, for all steps after it too.
    """
    method, content = request.method, request.content
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, content = "GET", None
    elif not same_origin and method not in ("GET", "HEAD", "OPTIONS"):
        return None
    headers = {
        name: value
        for name, value in request.headers.items()
        if (same_origin or name in _HARMLESS)
        and (content is not None or not name.startswith("content-"))
    }
    if not same_origin and content is not None:
        return None
    return Outgoing(method=method, headers=headers, content=content)


def _malformed(text: str, host: str) -> OutgoingFailure:
    return OutgoingFailure(FailureKind.REQUEST_MALFORMED, text, host)
