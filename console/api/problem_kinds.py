"""Every problem that the API answers with, as data: its status, its title, what it means.

`docs/api.md` has the same table, and a test holds the two together.
"""

from __future__ import annotations

from typing import Final, NamedTuple

TYPE: Final = "urn:hookline:api:"


class Kind(NamedTuple):
    """One of them. `about` is for the document."""

    status: int
    title: str
    about: str


KINDS: Final[dict[str, Kind]] = {
    "malformed": Kind(
        400,
        "Not understood",
        "The body is no JSON, or a header is not as it should be.",
    ),
    "unauthenticated": Kind(
        401,
        "No API token that counts",
        "None was sent, or it is unknown, expired, revoked or of another environment.",
    ),
    "scope_missing": Kind(
        403,
        "The token may not do this",
        "It is good and lacks a scope, which `detail` names.",
    ),
    "not_found": Kind(
        404,
        "There is no such thing",
        "No such address, connection, system or connect session.",
    ),
    "method_not_allowed": Kind(405, "Not by this method", "`Allow` names those that there are."),
    "exists": Kind(409, "It is there already", "The connection that was asked for exists."),
    "not_now": Kind(
        409,
        "Not as it stands now",
        "The state of the connection or of its flow does not allow it.",
    ),
    "revoked": Kind(
        409,
        "It was revoked",
        "That is for good; delete it, or connect again under another id.",
    ),
    "unreadable": Kind(
        409,
        "Its record cannot be read",
        "Write it again with `hookline connections apply`, or delete it.",
    ),
    "from_the_file": Kind(
        409,
        "It is from the configuration file",
        "Take it out of hookline.yaml, then `hookline connections remove`.",
    ),
    "not_rotatable": Kind(
        409,
        "Its secret is not ours to make",
        "The system cannot be given a new one by a request; `detail` says what to do instead.",
    ),
    "system_refused": Kind(
        409,
        "The system did not take it",
        "`detail` says why; nothing has changed.",
    ),
    "system_unclear": Kind(
        409,
        "Whether the system took it is not known",
        "`detail` says what counts now. Try again.",
    ),
    "key_in_progress": Kind(
        409,
        "The same request is under way",
        "Another one with this Idempotency-Key has not been answered yet.",
    ),
    "session_over": Kind(410, "The connect session is over", "Make a new one."),
    "too_large": Kind(413, "Too large", "A body has at most 65,536 bytes."),
    "not_json": Kind(
        415,
        "Not JSON",
        "Send `Content-Type: application/json`, and no Content-Encoding.",
    ),
    "invalid": Kind(422, "Not as it should be", "`errors` has a line for each mistake."),
    "key_reused": Kind(
        422,
        "The key was used for another request",
        "An Idempotency-Key belongs to one request, body and address included.",
    ),
    "rate_limited": Kind(429, "Too often", "Wait for as long as `Retry-After` says."),
    "fault": Kind(
        500,
        "A fault of ours",
        "Look for its request id in the console's log, and report what is there.",
    ),
    "unavailable": Kind(
        503,
        "A part that this needs is not there",
        "Kafka or the secret backend does not answer. Try again.",
    ),
    "not_configured": Kind(
        503,
        "Not set up",
        "The operator has not set up what this needs; `detail` names the setting.",
    ),
}
#: What any call may be answered.
ALWAYS: Final = (
    *("malformed", "unauthenticated", "scope_missing", "not_found", "method_not_allowed"),
    *("invalid", "rate_limited", "fault", "unavailable"),
)
