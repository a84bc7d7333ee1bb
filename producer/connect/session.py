"""A connect session: whose flow it is, what it may do, until when; and its token.

The token is `hc_{environment}_{id}{secret}{checksum}`: like our API tokens in form and in that only
its SHA-256 is kept (credentials/api_token.py), for the customer's browser and for half an hour.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from credentials.api_token import CHECKSUM_CHARS, MAX_CHARS, SECRET_CHARS, checksum
from credentials.secret import Secret
from producer.connect.flow.state import FlowState
from schemas.connect_session import ID_CHARS, ConnectSession
from schemas.errors import AccessError, CodecError

_SMALL: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FORM: Final = re.compile(
    rf"hc_(?P<environment>[a-z0-9][a-z0-9._-]{{0,62}})_(?P<id>[0-9a-z]{{{ID_CHARS}}})"
    rf"[0-9A-Za-z]{{{SECRET_CHARS}}}(?P<checksum>[0-9A-Za-z]{{{CHECKSUM_CHARS}}})",
    re.ASCII,
)


class SessionRefused(AccessError):
    """A session token that lets nobody in; `reason`: unknown, expired, ended or environment."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


class PresentedSession(NamedTuple):
    """A session token whose form and checksum are right; whether it counts is another question."""

    environment: str
    id: str
    digest: bytes


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One session as it is now. `systems` are those that may be chosen, all if empty; `system`
    skips choosing; `origin` is that of the embedding page."""

    id: str
    environment: str
    digest: bytes
    tenant: str
    connection_id: str = ""
    systems: tuple[str, ...] = ()
    system: str = ""
    label: str = ""
    locale: str = ""
    origin: str = ""
    created_at_us: int
    created_by: str = ""
    expires_at_us: int
    flow: FlowState = FlowState()

    def to_record(self, writer: str) -> ConnectSession:
        """As the topic has it."""
        own = {name: getattr(self, name) for name in self.__struct_fields__ if name != "flow"}
        return ConnectSession(
            **own,
            revision=self.flow.revision,
            writer=writer,
            flow=msgspec.json.encode(self.flow).decode(),
        )


def from_record(record: ConnectSession) -> Session:
    """The session that a record holds; CodecError if its flow cannot be read."""
    own = {
        name: getattr(record, name)
        for name in record.__struct_fields__
        if name not in ("revision", "writer", "flow")
    }
    try:
        flow = msgspec.json.decode(record.flow, type=FlowState)
    except msgspec.DecodeError as error:
        raise CodecError(
            f"the flow of connect session {record.id} cannot be read: {error}"
        ) from None
    return Session(**own, flow=flow)


def make_session_token(
    environment: str, choose: Callable[[str], str] = secrets.choice
) -> tuple[Secret, PresentedSession]:
    """A new token, and what is kept of it."""
    session_id = "".join(choose(_SMALL) for _ in range(ID_CHARS))
    secret = "".join(choose(_ALPHABET) for _ in range(SECRET_CHARS))
    start = f"hc_{environment}_{session_id}{secret}"
    text = start + checksum(start)
    return Secret(text), PresentedSession(environment, session_id, _digest(text))


def parse_session_token(text: str) -> PresentedSession:
    """What was presented; SessionRefused, which does not repeat it, if it is no whole token."""
    match = _FORM.fullmatch(text) if len(text) <= MAX_CHARS else None
    if match is None or not hmac.compare_digest(
        checksum(text[:-CHECKSUM_CHARS]), match["checksum"]
    ):
        raise SessionRefused(
            "unknown",
            "This link is not complete, or not one of ours. Open it again from where you found it.",
        )
    return PresentedSession(match["environment"], match["id"], _digest(text))


def _digest(text: str) -> bytes:
    return sha256(text.encode("ascii")).digest()
