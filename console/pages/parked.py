"""Parked keys: held in order behind an event that keeps failing; inspect them, try them now."""

from __future__ import annotations

import base64
from typing import Final

import msgspec
from starlette.responses import RedirectResponse, Response

from console import words
from console.problems import not_found, not_understood
from console.rendering import options
from console.visit import Visit, address
from consumer.stores.contract import ParkedEvent, ParkedKey, Partition
from schemas.api_token import Scope

PAGE: Final = 25
MAX_AT_ONCE: Final = 500
_EVENTS: Final = 50
#: Of values that are not shown: only the first event of each key is read.
_FIRST: Final = 10

Place = tuple[Partition, bytes]


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A parked key in the list; `first` is what holds the others up."""

    place: str
    key: str
    events: int
    attempts: int
    retry_at_us: int
    since_us: int
    event_type: str
    reason: str
    connection: str
    request_id: str


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """A parked event of a key."""

    offset: int
    event_type: str
    reason: str
    parked_at_us: int
    request_id: str
    size: str


def page(visit: Visit) -> Response:
    """The list, by partition and key."""
    connection = visit.asked("connection")
    after = _place(visit.query["after"]) if visit.query.get("after") else None
    with visit.parts.operations() as store:
        found = store.parked_keys(connection, after, PAGE + 1)
        rows = [_row(key, store.parked_events(key.partition, key.key, 1)) for key in found[:PAGE]]
    following = _text((found[PAGE - 1].partition, found[PAGE - 1].key)) if len(found) > PAGE else ""
    known = visit.parts.questions.known(visit.environment)
    did, count = visit.asked("did"), visit.asked("count")[:9]
    return visit.page(
        "parked.html",
        "/parked",
        rows=rows,
        connections=options(((name, name) for name in known.connections if name), connection),
        filtered=bool(connection),
        may_change=visit.may(Scope.DEAD_LETTERS_WRITE),
        done=f"{_keys(int(count))} due now." if did and count.isdecimal() else "",
        first=address("/parked", {"connection": connection}) if after else "",
        next=address("/parked", {"connection": connection, "after": following})
        if following
        else "",
        count=f"{len(rows)} on this page",
    )


def one(visit: Visit) -> Response:
    """The events of one key, in the order in which they will run."""
    partition, key = _place(visit.query.get("place", ""))
    with visit.parts.operations() as store:
        found = store.parked_events(partition, key, _EVENTS + 1)
    if not found:
        raise not_found(
            "This key is not parked (any more)", "Its events are done, or dead letters by now."
        )
    return visit.page(
        "parked_key.html",
        "/parked",
        key=key.decode("utf-8", "backslashreplace"),
        place=_text((partition, key)),
        partition=str(partition),
        rows=[_event(event) for event in found[:_EVENTS]],
        more=len(found) > _EVENTS,
        may_change=visit.may(Scope.DEAD_LETTERS_WRITE),
    )


def preview(visit: Visit) -> Response:
    """The dry run: which keys would be tried."""
    places = chosen(visit)
    with visit.parts.operations() as store:
        firsts = [(place, store.parked_events(*place, 1)) for place in places]
    there = [(place, events[0]) for place, events in firsts if events]
    if not there:
        raise not_understood("None of these keys is parked any more", "Load the list again.")
    gone = len(places) - len(there)
    return visit.page(
        "confirm.html",
        "/parked",
        title=f"Try {_keys(len(there))} now?",
        meaning="Each key's first event runs first, and the others only when it has succeeded. "
        "The consumer takes them within seconds.",
        danger=False,
        target="/parked/retry",
        field="place",
        values=[_text(place) for place, _ in there],
        label=f"Try {_keys(len(there))} now",
        back="/parked",
        header=("Key", "Reason", "First event", "Partition"),
        rows=[
            (_shown_key(place[1]), event.reason, event.event_type, str(place[0]))
            for place, event in there[:_FIRST]
        ],
        rest=max(0, len(there) - _FIRST),
        notes=[f"{gone} of what was ticked are not parked any more."] if gone else [],
    )


def chosen(visit: Visit) -> list[Place]:
    """The keys that a form names."""
    places = sorted({_place(text) for text in visit.sent_all("place")})
    if not places or len(places) > MAX_AT_ONCE:
        raise not_understood("Nothing is chosen", f"Tick from 1 to {MAX_AT_ONCE} keys in the list.")
    return places


def retry(visit: Visit, places: list[Place]) -> int:
    """Make them due; how many were there."""
    with visit.parts.operations() as store:
        return store.retry(places, visit.now_us // 1000)


def after_change(count: int) -> Response:
    """Back to the list, which says what was done."""
    return RedirectResponse(f"/parked?did=retry&count={count}", 303)


def _keys(count: int) -> str:
    return "1 key" if count == 1 else f"{words.count(count)} keys"


def _row(key: ParkedKey, first: list[ParkedEvent]) -> KeyRow:
    event = first[0] if first else None
    return KeyRow(
        place=_text((key.partition, key.key)),
        key=_shown_key(key.key),
        events=key.events,
        attempts=key.attempts,
        retry_at_us=key.retry_at_ms * 1000,
        since_us=event.parked_at_ms * 1000 if event else 0,
        event_type=event.event_type if event else "",
        reason=event.reason if event else "",
        connection=event.connection if event else "",
        request_id=event.request_id.hex() if event else "",
    )


def _event(event: ParkedEvent) -> EventRow:
    return EventRow(
        offset=event.offset,
        event_type=event.event_type,
        reason=event.reason,
        parked_at_us=event.parked_at_ms * 1000,
        request_id=event.request_id.hex(),
        size=words.bytes_(len(event.value)),
    )


def _shown_key(key: bytes) -> str:
    return key.decode("utf-8", "backslashreplace")


def _text(place: Place) -> str:
    """A place in an address or a form."""
    data = msgspec.msgpack.encode((place[0].topic, place[0].number, place[1]))
    return base64.urlsafe_b64encode(data).decode()


def _place(text: str) -> Place:
    try:
        data = base64.b64decode(text[:8_000], altchars=b"-_", validate=True)
        topic, number, key = msgspec.msgpack.decode(data, type=tuple[str, int, bytes])
    except ValueError:
        raise not_understood("This is no parked key", "The list shows which there are.") from None
    return Partition(topic, number), key
