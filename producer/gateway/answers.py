"""What the gateway answers: every answer carries the request id, none repeats what was sent."""

from __future__ import annotations

from typing import Final

import msgspec

Header = tuple[str, str]

_JSON: Final[Header] = ("content-type", "application/json")
_CLOSE: Final[Header] = ("connection", "close")
RETRY_AFTER_S: Final = 2


class Refusal(msgspec.Struct, frozen=True):
    """A refused request: its status, a code for programs, and a sentence for people."""

    status: int
    code: str
    message: str
    headers: tuple[Header, ...] = ()

    def body(self, request_id: str) -> bytes:
        """The JSON body."""
        return (
            f'{{"error":"{self.code}","message":"{self.message}","request_id":"{request_id}"}}'
        ).encode()

    def all_headers(self, request_id: str) -> list[Header]:
        """Headers with the request id."""
        return [_JSON, ("x-request-id", request_id), *self.headers]


NOT_FOUND: Final = Refusal(404, "not_found", "There is no such connection here.")
NO_SUCH_PATH: Final = Refusal(404, "no_such_path", "Webhooks go to /webhooks/{connection}.")
METHOD: Final = Refusal(405, "method_not_allowed", "Use POST.", (("allow", "POST"),))
TOO_LARGE: Final = Refusal(413, "body_too_large", "The body is over the limit.", (_CLOSE,))
TOO_SLOW: Final = Refusal(408, "body_too_slow", "The body did not arrive in time.", (_CLOSE,))
UNAUTHORIZED: Final = Refusal(
    401, "signature_refused", "The signature could not be verified; see the gateway's log."
)
_RETRY: Final[Header] = ("retry-after", str(RETRY_AFTER_S))
OVERLOADED: Final = Refusal(503, "overloaded", "Too much is in flight; send again.", (_RETRY,))
UNAVAILABLE: Final = Refusal(
    503, "unavailable", "The event could not be kept safe now; send again.", (_RETRY,)
)
FAILED: Final = Refusal(500, "internal", "A fault of ours; send again.", (_RETRY,))


def accepted(request_id: str, server_timing: str) -> tuple[list[Header], bytes]:
    """The answer to an event that is safe."""
    return (
        [_JSON, ("x-request-id", request_id), ("server-timing", server_timing)],
        f'{{"request_id":"{request_id}"}}'.encode(),
    )
