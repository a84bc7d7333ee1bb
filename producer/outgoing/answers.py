"""What comes of a request to a customer's system: an answer, or a failure with its kind."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from schemas.errors import HooklineError


class FailureKind(StrEnum):
    """Why there is no answer; safe as a label."""

    #: Not the address: a header that cannot be sent, such as a token with a line break in it.
    REQUEST_MALFORMED = "request_malformed"
    ADDRESS_MALFORMED = "address_malformed"
    ADDRESS_REFUSED = "address_refused"
    NAME_UNKNOWN = "name_unknown"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_BROKEN = "connection_broken"
    CERTIFICATE = "certificate"
    TLS = "tls"
    TIMEOUT = "timeout"
    REDIRECT = "redirect"
    TOO_LARGE = "too_large"
    NOT_HTTP = "not_http"
    #: Ours: as many requests as are allowed are under way, or the process is about to stop.
    BUSY = "busy"


class Stage(StrEnum):
    """How far a request has come, told as it gets there; after a redirect they begin again."""

    #: Its host's name has addresses, and they may be asked.
    RESOLVED = "resolved"
    CONNECTED = "connected"
    #: TLS is done, the certificate verified; or the policy lets the address be without.
    SECURED = "secured"
    #: The first bytes of the answer are there.
    ANSWERING = "answering"


class OutgoingFailure(HooklineError):
    """No answer. The text quotes no secret and nothing of an address but its scheme and host."""

    def __init__(self, kind: FailureKind, text: str, host: str = "") -> None:
        super().__init__(text)
        self.kind = kind
        self.host = host


class OutgoingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, whatever its status. `headers` are lower case; a repeated one is joined by `, `.

    `body` is inflated and at most as long as the client's limit.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    took_ms: int
    #: Where it came from in the end, without its query.
    url: str
