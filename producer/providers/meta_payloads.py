"""What of a change or a message in Meta's payloads identity needs.

Sources: Meta's documentation, "Webhooks reference: Page", "Messenger Platform: messages webhook
event", "WhatsApp Cloud API: Webhooks payload".
"""

from __future__ import annotations

from typing import Final

import msgspec

from producer.providers.identities import Resource

_Id = str | int | None
Moment = str | int | float | None


class _WithId(msgspec.Struct, frozen=True):
    id: _Id = None


class _Message(msgspec.Struct, frozen=True):
    mid: str | None = None
    is_echo: bool | None = None


class Messaging(msgspec.Struct, frozen=True):
    """One of an entry's `messaging`."""

    sender: _WithId | None = None
    recipient: _WithId | None = None
    timestamp: Moment = None
    message: _Message | None = None
    message_edit: _Message | None = None
    postback: _Message | None = None
    delivery: dict[str, msgspec.Raw] | None = None
    read: dict[str, msgspec.Raw] | None = None
    reaction: dict[str, msgspec.Raw] | None = None

    def kind(self) -> str:
        """Which of Messenger's events it is."""
        for name in ("message", "message_edit", "postback", "delivery", "read", "reaction"):
            if getattr(self, name) is not None:
                return name
        return "messaging"

    def event_id(self) -> str | None:
        """The message's id; edits, receipts and reactions have only that of what they are about."""
        told = self.message or self.postback
        return None if told is None else told.mid

    def conversation(self) -> Resource | None:
        """The page and the person, in this order whoever spoke."""
        if self.sender is None or self.recipient is None:
            return None
        two = (self.recipient.id, self.sender.id)
        if self.message is not None and self.message.is_echo:
            two = (self.sender.id, self.recipient.id)
        return None if None in two else Resource("conversation", f"{two[0]}:{two[1]}")


class _WhatsAppMessage(msgspec.Struct, frozen=True):
    id: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    timestamp: Moment = None


class _WhatsAppStatus(msgspec.Struct, frozen=True):
    id: str | None = None
    status: str | None = None
    recipient_id: str | None = None
    timestamp: Moment = None


class _Number(msgspec.Struct, frozen=True):
    phone_number_id: _Id = None


class _Value(msgspec.Struct, frozen=True):
    metadata: _Number | None = None
    messages: list[_WhatsAppMessage] = []
    statuses: list[_WhatsAppStatus] = []
    post_id: _Id = None
    media_id: _Id = None
    leadgen_id: _Id = None
    created_time: Moment = None


class Change(msgspec.Struct, frozen=True):
    """One of an entry's `changes`; its value is an object, or for some fields a text."""

    field: str
    value: _Value | str | int | float | bool | None = None

    def event_id(self) -> str | None:
        """WhatsApp's id of the only message, or of the only status with the status."""
        value = self._object()
        if len(value.messages) == 1 and not value.statuses:
            return value.messages[0].id
        if len(value.statuses) == 1 and not value.messages:
            status = value.statuses[0]
            return f"{status.id}:{status.status}" if status.id else None
        return None

    def resource(self) -> Resource | None:
        """The conversation, the post, the medium or the lead; None if it is about the entry."""
        value = self._object()
        if value.metadata is not None and value.metadata.phone_number_id is not None:
            people = {message.from_ for message in value.messages}
            people |= {status.recipient_id for status in value.statuses}
            if len(people) == 1 and None not in people:
                return Resource("conversation", f"{value.metadata.phone_number_id}:{people.pop()}")
        for kind, found in (
            ("post", value.post_id),
            ("media", value.media_id),
            ("lead", value.leadgen_id),
        ):
            if found is not None:
                return Resource(kind, found)
        return None

    def moment(self) -> Moment:
        """When it happened."""
        value = self._object()
        if value.messages:
            return value.messages[0].timestamp
        return value.statuses[0].timestamp if value.statuses else value.created_time

    def _object(self) -> _Value:
        return self.value if isinstance(self.value, _Value) else _Value()


MESSAGING: Final = msgspec.json.Decoder(Messaging)
CHANGE: Final = msgspec.json.Decoder(Change)
