"""Slack's Events API, interactions and slash commands: `v0={HMAC of v0:time:body}`.

The time is signed, so there is a replay window. Sources: Slack's documentation, "Verifying
requests from Slack", "The Events API", "url_verification event", "Handling user interaction" and
"Implementing slash commands".
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import parse_qs

import msgspec
from pydantic import BaseModel, Field

from credentials.key_ring import Key
from producer.providers import json_body, timestamps
from producer.providers.guide import Guide
from producer.providers.header_values import single
from producer.providers.identities import Resource, identity
from producer.providers.options import ProviderOptions
from producer.providers.provider import (
    Identity,
    Provider,
    Refused,
    Reply,
    Request,
    Unreadable,
    Verified,
)
from producer.providers.refusals import (
    HANDSHAKE_REFUSED,
    NO_ACTIVE_SECRET,
    SIGNATURE_MALFORMED,
    SIGNATURE_MISSING,
    SIGNATURE_WRONG,
    TIMESTAMP_MALFORMED,
    TIMESTAMP_MISSING,
    TIMESTAMP_OUTSIDE_WINDOW,
)
from producer.providers.secret_text import as_bytes, signing_key
from producer.providers.signature_text import from_hex
from producer.providers.unreadable import Reason, unreadable
from schemas.errors import SecretFormatError

_SIGNATURE: Final = "x-slack-signature"
_TIMESTAMP: Final = "x-slack-request-timestamp"
_VERSION: Final = "v0="
_CHARS: Final = len(_VERSION) + 64
_MAX_CHALLENGE_CHARS: Final = 1024
_MAX_FIELDS: Final = 100
_HANDSHAKE: Final = "url_verification"


class SlackOptions(ProviderOptions):
    """What a connection may set."""

    tolerance_s: Annotated[
        int,
        Field(ge=1, le=86_400, description="how old or how early a request may be, in seconds"),
    ] = 300


class _Id(msgspec.Struct, frozen=True):
    id: str | None = None


# An id, or the whole entity: channel_created has one where message has the other.
_IdOrEntity = str | _Id | None


class _Item(msgspec.Struct, frozen=True):
    channel: _IdOrEntity = None


class _Inner(msgspec.Struct, frozen=True):
    type: str | None = None
    subtype: str | None = None
    channel: _IdOrEntity = None
    channel_id: str | None = None
    item: _Item | str | None = None
    user: _IdOrEntity = None
    file_id: str | None = None
    event_ts: str | None = None


class _Outer(msgspec.Struct, frozen=True):
    type: str
    challenge: str | None = None
    event_id: str | None = None
    event_time: int | None = None
    team_id: str | None = None
    minute_rate_limited: int | None = None
    event: _Inner | None = None


class _Interaction(msgspec.Struct, frozen=True):
    type: str
    trigger_id: str | None = None
    callback_id: str | None = None
    team: _Id | None = None
    user: _Id | None = None
    channel: _Id | None = None
    view: _Id | None = None


_OUTER: Final = msgspec.json.Decoder(_Outer)
_INTERACTION: Final = msgspec.json.Decoder(_Interaction)


class Slack(Provider):
    """Verifies and identifies what Slack sends to an app's request URLs."""

    name: ClassVar[str] = "slack"
    Options: ClassVar[type[BaseModel]] = SlackOptions
    handshake_methods: ClassVar[frozenset[str]] = frozenset({"POST"})
    # A dialog refuses any body that is not an order to it.
    accepted: ClassVar[Reply | None] = Reply("text/plain; charset=utf-8")
    guide: ClassVar[Guide] = Guide(
        title="Slack",
        pages=(
            "Verifying requests from Slack",
            "The Events API",
            "url_verification event",
            "Handling user interaction",
            "Implementing slash commands",
        ),
        scheme="HMAC-SHA256 of `v0:{timestamp}:{body}` in hex, `X-Slack-Signature: v0=…`",
        secret="api.slack.com/apps → the app → Basic Information → App Credentials → Signing "
        "Secret (not the Client Secret, not the Verification Token).",
        replay="The signed `X-Slack-Request-Timestamp`, at most `tolerance_s` (300 s) from now.",
        handshake="`url_verification`: Slack posts a signed challenge when the request URL is "
        "saved, and reads it back. Have the connection and its secret running first.",
        event_id="`event_id` (`Ev…`), the same when Slack tries again; of interactions and slash "
        "commands their `trigger_id`",
        event_type="`slack.` and the inner event's `type`, with its `subtype`: "
        "`slack.message.channel_join`; `slack.block_actions`; `slack.slash_command`",
        resource="The channel, else the file, the user, the team",
        version="None",
        occurred_at="`event_ts`, else `event_time`",
        options="tolerance_s: 300",
        notes=(
            "The answer's body is empty, as Slack wants it: Hookline takes what happened and does "
            "not talk back. To reply, a handler uses `response_url` or the Web API.",
            "Slack's payloads carry the retired Verification Token in `token`. It is in the log "
            "with the rest; Slack lets you regenerate it, and nothing here reads it.",
        ),
    )

    def __init__(self, options: BaseModel) -> None:
        assert isinstance(options, SlackOptions)
        self._tolerance_s = options.tolerance_s
        self.kept_headers: Sequence[str] = (
            _TIMESTAMP,
            "x-slack-retry-num",
            "x-slack-retry-reason",
        )

    def load_key(self, secret: str) -> object:
        """The signing secret's text."""
        text = secret.strip()
        if text.startswith(("xoxb-", "xoxp-", "xapp-")):
            raise SecretFormatError(
                "this is a Slack access token: the signing secret is under Basic Information, "
                "App Credentials"
            )
        return as_bytes(text, "Slack's signing secret")

    def handshake(
        self, request: Request, keys: Sequence[Key], now_s: float
    ) -> Reply | Refused | None:
        """The signed challenge of `url_verification`, back as plain text."""
        if _HANDSHAKE.encode() not in request.body:
            return None
        outer = json_body.decode(_OUTER, request.body)
        if isinstance(outer, Unreadable) or outer.type != _HANDSHAKE:
            return None
        verdict = self.verify(request, keys, now_s)
        if isinstance(verdict, Refused):
            return verdict
        challenge = outer.challenge
        if not challenge or len(challenge) > _MAX_CHALLENGE_CHARS or not challenge.isascii():
            return HANDSHAKE_REFUSED
        return Reply("text/plain; charset=utf-8", challenge.encode())

    def verify(self, request: Request, keys: Sequence[Key], now_s: float) -> Verified | Refused:
        """HMAC-SHA256 of version, time and raw body, and the window."""
        if not keys:
            return NO_ACTIVE_SECRET
        headers = request.headers
        text = single(headers, _SIGNATURE, SIGNATURE_MISSING, SIGNATURE_MALFORMED)
        if isinstance(text, Refused):
            return text
        timestamp = single(headers, _TIMESTAMP, TIMESTAMP_MISSING, TIMESTAMP_MALFORMED)
        if isinstance(timestamp, Refused):
            return timestamp
        seconds = timestamps.digits(timestamp)
        if seconds is None:
            return TIMESTAMP_MALFORMED
        if not timestamps.within(seconds, "s", now_s, self._tolerance_s):
            return TIMESTAMP_OUTSIDE_WINDOW
        if len(text) != _CHARS or not text.startswith(_VERSION):
            return SIGNATURE_MALFORMED
        signature = from_hex(text[len(_VERSION) :])
        if signature is None:
            return SIGNATURE_MALFORMED
        content = f"v0:{timestamp}:".encode() + request.body
        verified_by = signing_key(content, (signature,), keys)
        return SIGNATURE_WRONG if verified_by is None else Verified(verified_by)

    def identify(self, request: Request) -> Identity | Unreadable:
        """An event's JSON, or the form of an interaction or a slash command."""
        body = request.body
        if body.lstrip()[:1] == b"{":
            outer = json_body.decode(_OUTER, body)
            return outer if isinstance(outer, Unreadable) else self._event(outer)
        form = _form(body)
        if isinstance(form, Unreadable):
            return form
        if "payload" in form:
            payload = form["payload"].encode("utf-8", "surrogatepass")
            interaction = json_body.decode(_INTERACTION, payload)
            if isinstance(interaction, Unreadable):
                return interaction
            return identity(
                self.name,
                interaction.trigger_id or None,
                interaction.type,
                _first(
                    ("channel", _id(interaction.channel)),
                    ("view", _id(interaction.view)),
                    ("user", _id(interaction.user)),
                ),
            )
        resource = _first(("channel", form.get("channel_id")), ("user", form.get("user_id")))
        return identity(self.name, form.get("trigger_id"), "slash_command", resource)

    def _event(self, outer: _Outer) -> Identity | Unreadable:
        event = outer.event
        if event is None:
            # app_rate_limited has no event within and no id.
            event_id = outer.event_id
            if event_id is None and outer.minute_rate_limited is not None:
                event_id = f"{outer.type}-{outer.team_id}-{outer.minute_rate_limited}"
            return identity(self.name, event_id, outer.type, _first(("team", outer.team_id)))
        event_type = event.type if event.subtype is None else f"{event.type}.{event.subtype}"
        item = event.item if isinstance(event.item, _Item) else None
        return identity(
            self.name,
            outer.event_id,
            event_type,
            _first(
                ("channel", _id(event.channel) or event.channel_id),
                ("channel", _id(item.channel) if item is not None else None),
                ("file", event.file_id),
                ("user", _id(event.user)),
                ("team", outer.team_id),
            ),
            occurred_at_us=_ts_to_us(event.event_ts) or timestamps.to_us(outer.event_time, "s"),
        )

    def sign(
        self, body: bytes, key: object, *, event_id: str, event_type: str, now_s: float
    ) -> Mapping[str, str]:
        """Slack's two headers."""
        assert isinstance(key, bytes)
        timestamp = str(int(now_s))
        content = f"v0:{timestamp}:".encode() + body
        form = body.lstrip()[:1] != b"{"
        return {
            "content-type": "application/x-www-form-urlencoded" if form else "application/json",
            _TIMESTAMP: timestamp,
            _SIGNATURE: _VERSION + hmac.digest(key, content, "sha256").hex(),
        }


def _form(body: bytes) -> dict[str, str] | Unreadable:
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        return unreadable(Reason.FORM_MALFORMED, "the body is neither JSON nor a form")
    return {name: values[-1] for name, values in fields.items()}


def _first(*candidates: tuple[str, Any]) -> Resource | None:
    for kind, value in candidates:
        if value:
            return Resource(kind, value)
    return None


def _id(entity: _IdOrEntity) -> str | None:
    return entity.id if isinstance(entity, _Id) else entity


def _ts_to_us(text: str | None) -> int | None:
    """Slack's own form of time: seconds, a dot and microseconds."""
    if text is None:
        return None
    seconds, _, fraction = text.partition(".")
    whole = timestamps.digits(seconds)
    part = timestamps.digits(fraction.ljust(6, "0")) if len(fraction) <= 6 else None
    moment = None if whole is None else timestamps.unix_to_us(whole, "s")
    return None if moment is None or part is None else moment + part
