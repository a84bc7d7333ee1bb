"""The straight reader and writer of the envelope against the general ones: the same, or none."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import event_bytes, event_writer
from schemas.codec import (
    EVENT,
    PREFIX_BYTES,
    _event_to_record,
    _without_logical_types,
    load_schemas,
)
from schemas.event import Event
from schemas.event_bytes import read_event
from schemas.event_writer import write_event

_SCHEMA = fastavro.parse_schema(_without_logical_types(load_schemas("event")[1]))
_TEXTS = (
    *("environment", "tenant", "connection", "provider"),
    *("event_id", "event_type", "resource_type", "resource_id"),
)
_LONG = st.integers(-(2**63), 2**63 - 1)
_TEXT = st.one_of(
    st.text(max_size=8),
    st.text(min_size=60, max_size=70),
    st.sampled_from(["x" * 8200, "ü" * 4100]),
)

events = st.builds(
    Event,
    request_id=st.binary(min_size=16, max_size=16),
    environment=st.text(max_size=70),
    tenant=st.text(max_size=70),
    connection=st.text(max_size=70),
    provider=st.text(max_size=70),
    event_id=_TEXT,
    event_type=_TEXT,
    resource_type=_TEXT,
    resource_id=_TEXT,
    received_at_us=st.one_of(st.integers(1_700_000_000_000_000, 1_900_000_000_000_000), _LONG),
    payload=st.one_of(st.binary(max_size=200), st.just(bytes(9000))),
    resource_version=st.none() | _LONG,
    occurred_at_us=st.none() | st.integers(1_700_000_000_000_000, 1_900_000_000_000_000) | _LONG,
    source=st.sampled_from(["UNKNOWN", "WEBHOOK", "POLL"]),
    secret_name=st.text(max_size=70),
    content_type=st.text(max_size=70),
    headers=st.dictionaries(st.text(max_size=10), st.text(max_size=20), max_size=4)
    | st.just({str(n): "v" * 200 for n in range(70)}),
    read_ns=_LONG,
    verify_ns=_LONG,
    identify_ns=_LONG,
)


def by_schema(data: bytes) -> Event | None:
    """What the general reader makes of it; None if it refuses."""
    buffer = BytesIO(data)
    buffer.seek(PREFIX_BYTES)
    try:
        record = fastavro.schemaless_reader(buffer, _SCHEMA, None)
        if buffer.tell() != len(data):
            return None
    except Exception:
        return None
    record["occurred_at_us"] = record.pop("occurred_at")
    record["received_at_us"] = record.pop("received_at")
    return Event(**record)


def written_by_schema(event: Event) -> bytes:
    """What the general writer makes of it."""
    buffer = BytesIO()
    buffer.write(EVENT._prefix)
    fastavro.schemaless_writer(buffer, _SCHEMA, _event_to_record(event))
    return buffer.getvalue()


@settings(max_examples=1500, deadline=None)
@given(events)
def test_it_writes_what_the_general_writer_writes_or_leaves_it_to_that(event: Event) -> None:
    expected = written_by_schema(event)
    assert write_event(EVENT._prefix, event) in (None, expected)
    assert EVENT.encode(event) == expected


@given(st.integers(-(2**64), 2**64))
def test_a_number_is_written_as_the_general_writer_does_or_left_to_it(number: int) -> None:
    event = Event(**dict.fromkeys(_TEXTS, ""), request_id=bytes(16), received_at_us=number,
                  payload=b"")  # fmt: skip
    written = write_event(EVENT._prefix, event)
    if written is None:
        assert not -(2**63) <= number < 2**63
    else:
        assert written == written_by_schema(event)


@pytest.mark.parametrize(
    "changed",
    [
        {"request_id": bytes(15)},
        {"source": "ELSEWHERE"},
        {"event_id": "\ud800"},
        {"event_id": "x" * 8192},
        {"headers": {"a": "\udfff"}},
        {"payload": "text"},
        {"read_ns": None},
    ],
    ids=str,
)
def test_what_is_unusual_is_left_to_the_general_writer(changed: dict[str, Any]) -> None:
    fields: dict[str, Any] = dict.fromkeys(_TEXTS, "") | {
        "request_id": bytes(16), "received_at_us": 1, "payload": b""
    }  # fmt: skip
    assert write_event(EVENT._prefix, Event(**fields)) is not None
    assert write_event(EVENT._prefix, Event(**fields | changed)) is None


@settings(max_examples=1500, deadline=None)
@given(events)
def test_it_reads_what_the_general_reader_reads_or_leaves_it_to_that(event: Event) -> None:
    data = EVENT.encode(event)
    assert read_event(data) in (None, event)
    assert EVENT.decode(data) == by_schema(data) == event


@settings(max_examples=300, deadline=None)
@given(st.lists(events, min_size=1, max_size=3))
def test_an_ordinary_event_is_never_left_to_the_general_reader(made: list[Event]) -> None:
    for event in made:
        short = Event(
            **{
                name: value[:20] if isinstance(value := getattr(event, name), str) else value
                for name in event.__struct_fields__
                if name not in ("headers", "source")
            },
            source=event.source,
            headers={"x-id": "1", "user-agent": "x" * 300},
        )
        if all(len(getattr(short, n).encode()) < 64 for n in ("environment", "tenant")):
            assert read_event(EVENT.encode(short)) in (None, short)
    plain = Event(
        request_id=b"r" * 16, environment="e", tenant="t", connection="c", provider="p",
        event_id="i" * 90, event_type="a.b", resource_type="r", resource_id="x" * 90,
        received_at_us=1_764_000_000_000_000, occurred_at_us=1_764_000_000_000_000,
        resource_version=7, payload=b"{}" * 5000, headers={"a": "b"}, secret_name="1",
        content_type="application/json", read_ns=12345, verify_ns=3, identify_ns=10**6,
    )  # fmt: skip
    assert read_event(EVENT.encode(plain)) == plain


@settings(max_examples=3000, deadline=None)
@given(events, st.data())
def test_damaged_bytes_never_give_another_event_than_the_general_reader(
    event: Event, data: st.DataObject
) -> None:
    whole = bytearray(EVENT.encode(event))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(PREFIX_BYTES, len(whole) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        if kind == "flip":
            whole[at] = data.draw(st.integers(0, 255))
        elif kind == "cut" and len(whole) > PREFIX_BYTES + 2:
            del whole[at : at + data.draw(st.integers(1, 3))]
        else:
            whole[at:at] = data.draw(st.binary(min_size=1, max_size=3))
        if len(whole) <= PREFIX_BYTES:
            break
    damaged = bytes(whole)
    ours = read_event(damaged)
    assert ours is None or ours == by_schema(damaged)


def test_what_it_remembers_of_origins_is_bounded() -> None:
    event_bytes._origins.clear()
    for n in range(5000):
        event = Event(
            request_id=b"r" * 16, environment="e", tenant=f"t{n}", connection="c", provider="p",
            event_id="i", event_type="a", resource_type="r", resource_id="x", received_at_us=1,
            payload=b"",
        )  # fmt: skip
        assert read_event(EVENT.encode(event)) == event
    assert len(event_bytes._origins) <= 4096


def test_what_it_remembers_of_words_is_bounded() -> None:
    event_writer._words.clear()
    for n in range(5000):
        event = Event(
            request_id=b"r" * 16, environment="e", tenant="t", connection="c", provider="p",
            event_id="i", event_type=f"a{n}", resource_type="r", resource_id="x",
            received_at_us=1, payload=b"", content_type="c" * 300,
        )  # fmt: skip
        assert write_event(EVENT._prefix, event) == written_by_schema(event)
    assert 0 < len(event_writer._words) <= 4096
    assert "c" * 300 not in event_writer._words
