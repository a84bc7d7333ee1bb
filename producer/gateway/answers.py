"""What the gateway answers: every answer carries the request id, none repeats what was sent."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from producer.providers.provider import Refusal as SignatureRefusal
from producer.providers.provider import Reply

Header = tuple[str, str]

_JSON: Final[Header] = ("content-type", "application/json")
_CLOSE: Final[Header] = ("connection", "close")
# In place of the HTTP server's own name and version.
_SERVER: Final[Header] = ("server", "hookline")
RETRY_AFTER_S: Final = 2


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What to send back."""

    status: int
    headers: list[Header]
    body: bytes


class Refusal(msgspec.Struct, frozen=True):
    """A refused request: its status, a code for programs, and a sentence for people."""

    status: int
    code: str
    message: str
    headers: tuple[Header, ...] = ()

    def answer(self, request_id: str) -> Answer:
        """The answer to this request."""
        body = f'{{"error":"{self.code}","message":"{self.message}","request_id":"{request_id}"}}'
        return Answer(
            self.status,
            [_JSON, _SERVER, ("x-request-id", request_id), *self.headers],
            body.encode(),
        )


NOT_FOUND: Final = Refusal(404, "not_found", "There is no such connection here.")
NO_SUCH_PATH: Final = Refusal(404, "no_such_path", "Webhooks go to /webhooks/{connection}.")
METHOD: Final = Refusal(405, "method_not_allowed", "Use POST.", (("allow", "POST"),))
BAD_REQUEST: Final = Refusal(400, "bad_request", "This is not proper HTTP/1.1.", (_CLOSE,))
HEAD_TOO_LARGE: Final = Refusal(431, "head_too_large", "The headers are too many.", (_CLOSE,))
TOO_LARGE: Final = Refusal(413, "body_too_large", "The body is over the limit.", (_CLOSE,))
TOO_SLOW: Final = Refusal(408, "body_too_slow", "The body did not arrive in time.", (_CLOSE,))

_RETRY: Final[Header] = ("retry-after", str(RETRY_AFTER_S))
OVERLOADED: Final = Refusal(503, "overloaded", "Too much is in flight; send again.", (_RETRY,))
UNAVAILABLE: Final = Refusal(
    503, "unavailable", "The event could not be kept safe now; send again.", (_RETRY,)
)
TOO_MANY: Final = Refusal(
    429, "too_many", "Too much of this connection is in flight; send again.", (_RETRY,)
)
NOT_SERVED: Final = Refusal(
    503, "not_served", "This connection cannot be served now; send again.", (_RETRY,)
)
FAILED: Final = Refusal(500, "internal", "A fault of ours; send again.", (_RETRY,))

_NOT_BELIEVED: Final = Refusal(
    401, "signature_refused", "The signature is not one that this connection accepts."
)
# What a sender can see of its own request is told; which secrets there are is not, so a wrong
# signature and a connection without an active secret look the same.
UNAUTHORIZED: Final[Mapping[SignatureRefusal, Refusal]] = MappingProxyType(
    {
        SignatureRefusal.SIGNATURE_MISSING: Refusal(
            401, "signature_missing", "A header that carries the signature is missing."
        ),
        SignatureRefusal.SIGNATURE_MALFORMED: Refusal(
            401, "signature_malformed", "The signature's headers are not of the scheme's form."
        ),
        SignatureRefusal.TIMESTAMP_MISSING: Refusal(
            401, "timestamp_missing", "The header that carries the timestamp is missing."
        ),
        SignatureRefusal.TIMESTAMP_MALFORMED: Refusal(
            401, "timestamp_malformed", "The timestamp is not of the scheme's form."
        ),
        SignatureRefusal.TIMESTAMP_OUTSIDE_WINDOW: Refusal(
            401, "timestamp_outside_window", "The timestamp is too far from now; check the clock."
        ),
        SignatureRefusal.SIGNATURE_WRONG: _NOT_BELIEVED,
        SignatureRefusal.NO_ACTIVE_SECRET: _NOT_BELIEVED,
        SignatureRefusal.HANDSHAKE_REFUSED: Refusal(
            403, "handshake_refused", "The handshake is not one that this connection accepts."
        ),
    }
)

#: Of these another key could make an authentic request.
FOR_LACK_OF_A_KEY: Final = frozenset(
    {
        SignatureRefusal.SIGNATURE_WRONG,
        SignatureRefusal.NO_ACTIVE_SECRET,
        SignatureRefusal.HANDSHAKE_REFUSED,
    }
)


def rate_limited(retry_after_s: int) -> Refusal:
    """The refusal of what is over a connection's rate."""
    return Refusal(
        429,
        "rate_limited",
        "This connection sends more than it may; send again later.",
        (("retry-after", str(retry_after_s)),),
    )


def accepted(request_id: str, server_timing: str, reply: Reply | None = None) -> Answer:
    """The answer to an event that is safe, in the system's own words if it needs them."""
    timing = ("server-timing", server_timing)
    if reply is not None:
        return _answer(request_id, reply, timing)
    return Answer(
        200,
        [_JSON, _SERVER, ("x-request-id", request_id), timing],
        f'{{"request_id":"{request_id}"}}'.encode(),
    )


def replied(request_id: str, reply: Reply) -> Answer:
    """The answer to a handshake."""
    return _answer(request_id, reply)


def _answer(request_id: str, reply: Reply, *more: Header) -> Answer:
    kind = ("content-type", reply.content_type)
    return Answer(
        200, [kind, _SERVER, ("x-request-id", request_id), *more, *reply.headers], reply.body
    )


def document(status: int, content_type: str, body: bytes) -> Answer:
    """A page for probes and scrapers."""
    headers = [("content-type", content_type), _SERVER, ("cache-control", "no-store")]
    return Answer(status, headers, body)
