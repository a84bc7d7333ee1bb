"""The envelope and the dead letter as bytes: single-object encoding that other readers share."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.codec import DEAD_LETTER, EVENT, MARKER, PREFIX_BYTES, Codec, load_schemas
from schemas.codec import schema_prefix as prefix_of
from schemas.dead_letter import DeadLetter
from schemas.errors import NotSingleObject, Undecodable, UnknownSchema
from schemas.event import Event, dedupe_id, resource_key

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
long = st.integers(-(2**63), 2**63 - 1)
headers = st.dictionaries(text, text, max_size=4)
events = st.builds(
    Event,
    request_id=st.binary(min_size=16, max_size=16),
    **dict.fromkeys(
        ("environment", "tenant", "connection", "provider", "event_id", "event_type",
         "resource_type", "resource_id", "secret_name", "content_type"), text
    ),
    received_at_us=long,
    payload=st.binary(max_size=300),
    resource_version=st.none() | long,
    occurred_at_us=st.none() | long,
    source=st.sampled_from(["UNKNOWN", "WEBHOOK", "POLL"]),
    headers=headers,
    read_ns=long,
    verify_ns=long,
    identify_ns=long,
)  # fmt: skip
letters = st.builds(
    DeadLetter,
    reason=text,
    died_at_us=long,
    stage=st.sampled_from(["UNKNOWN", "GATEWAY", "CONSUMER"]),
    request_id=st.none() | st.binary(min_size=16, max_size=16),
    **dict.fromkeys(("connection", "group", "detail", "topic"), text),
    attempts=st.integers(-(2**31), 2**31 - 1),
    partition=st.integers(-(2**31), 2**31 - 1),
    offset=long,
    key=st.none() | st.binary(max_size=50),
    value=st.none() | st.binary(max_size=300),
    headers=headers,
)

EXAMPLE = Event(
    request_id=bytes(range(16)),
    environment="test",
    tenant="acme",
    connection="acme-github",
    provider="github",
    event_id="72d3162e",
    event_type="github.issues.opened",
    resource_type="issue",
    resource_id="51#7",
    resource_version=1_764_000_000_000_001,
    occurred_at_us=1_764_000_000_123_456,
    received_at_us=1_764_000_001_000_002,
    headers={"x-github-event": "issues"},
    payload=b'{"action":"opened"}',
)


@given(events)
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    assert EVENT.decode(EVENT.encode(event)) == event


@given(letters)
def test_a_dead_letter_comes_back_as_it_was(letter: DeadLetter) -> None:
    assert DEAD_LETTER.decode(DEAD_LETTER.encode(letter)) == letter


@pytest.mark.parametrize(("name", "codec"), [("event", EVENT), ("dead_letter", DEAD_LETTER)])
def test_it_opens_with_the_marker_and_the_newest_schemas_fingerprint(
    name: str, codec: Codec[Any]
) -> None:
    value = EXAMPLE if name == "event" else DeadLetter(reason="r", died_at_us=0)
    schema = list(load_schemas(name).values())[-1]
    data = codec.encode(value)
    assert data[:2] == b"\xc3\x01" == MARKER
    assert data[2:10] == rabin(canonical(schema)).to_bytes(8, "little")
    assert data[:PREFIX_BYTES] == prefix_of(schema)


@pytest.mark.parametrize(
    ("schema", "published"),
    [('"null"', 0x63DD24E7CC258F8A), ('"int"', 0x7275D51A3F395C8F)],
)
def test_the_fingerprint_is_the_one_that_avros_own_tests_publish(
    schema: str, published: int
) -> None:
    assert rabin(schema) == published
    assert prefix_of(json.loads(schema)) == MARKER + published.to_bytes(8, "little")


def test_any_avro_reader_with_the_schema_file_finds_the_logical_types() -> None:
    data = BytesIO(EVENT.encode(EXAMPLE)[PREFIX_BYTES:])
    record: Any = fastavro.schemaless_reader(data, load_schemas("event")[1], None)
    assert record["occurred_at"] == datetime(2025, 11, 24, 16, 0, 0, 123_456, tzinfo=UTC)
    assert record["received_at"] == datetime(2025, 11, 24, 16, 0, 1, 2, tzinfo=UTC)
    assert EXAMPLE.occurred_at == record["occurred_at"]
    assert EXAMPLE.received_at == record["received_at"]
    assert record["request_id"] == EXAMPLE.request_id
    assert record["payload"] == EXAMPLE.payload


def test_what_any_avro_writer_wrote_with_the_schema_file_is_read() -> None:
    schema = load_schemas("event")[1]
    buffer = BytesIO()
    buffer.write(prefix_of(schema))
    record = {
        name.removesuffix("_us"): getattr(EXAMPLE, name) for name in EXAMPLE.__struct_fields__
    }
    record["occurred_at"] = EXAMPLE.occurred_at
    record["received_at"] = EXAMPLE.received_at
    fastavro.schemaless_writer(buffer, schema, record)
    assert EVENT.decode(buffer.getvalue()) == EXAMPLE


def test_an_older_version_is_read_with_the_newer_ones_defaults() -> None:
    first = load_schemas("event")[1]
    fields = [*first["fields"], {"name": "added", "type": "string", "default": "as before"}]
    second = {**first, "fields": fields}

    def codec(*schemas: dict[str, Any]) -> Codec[dict[str, Any]]:
        return Codec(dict(enumerate(schemas, 1)), lambda record: record, lambda record: record)

    record = {name.removesuffix("_us"): getattr(EXAMPLE, name) for name in Event.__struct_fields__}
    old = codec(first).encode(record)
    assert codec(first, second).decode(old) == record | {"added": "as before"}
    new = codec(first, second).encode(record | {"added": "now"})
    assert new[:PREFIX_BYTES] != old[:PREFIX_BYTES]
    assert codec(first, second).decode(new)["added"] == "now"
    with pytest.raises(UnknownSchema, match="upgrade the readers before the writers"):
        codec(first).decode(new)


@pytest.mark.parametrize(
    "data", [b"", b"\xc3", b"\xc3\x01", b"\xc3\x01" + b"\x00" * 7, b"\x00" * 50, b'{"a": 1}']
)
def test_bytes_without_the_marker_are_no_single_object(data: bytes) -> None:
    with pytest.raises(NotSingleObject):
        EVENT.decode(data)


def test_an_unknown_fingerprint_is_named() -> None:
    data = bytearray(EVENT.encode(EXAMPLE))
    data[2:10] = bytes(range(8))
    with pytest.raises(UnknownSchema, match="0706050403020100"):
        EVENT.decode(bytes(data))


def test_one_record_is_not_read_as_the_other() -> None:
    with pytest.raises(UnknownSchema):
        DEAD_LETTER.decode(EVENT.encode(EXAMPLE))


def test_every_truncation_and_every_byte_too_many_is_an_error() -> None:
    data = EVENT.encode(EXAMPLE)
    for length in range(len(data)):
        with pytest.raises(NotSingleObject if length < PREFIX_BYTES else Undecodable):
            EVENT.decode(data[:length])
    with pytest.raises(Undecodable, match="1 bytes follow"):
        EVENT.decode(data + b"\x00")


@given(st.binary(max_size=200))
@example(b"\x00" * 16 + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example(b"\x00" * 16 + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@example(b"\x00" * 16 + b"\x02\xff")
def test_whatever_follows_the_prefix_is_read_or_is_an_error_of_ours(rest: bytes) -> None:
    problem = decoding_problem(EVENT.encode(EXAMPLE)[:PREFIX_BYTES] + rest)
    # The payload is not quoted: this text gets into logs and dead letters.
    quotes_nothing = r"\d+ bytes (do not follow their schema \(\w+\)|follow the record)"
    assert problem is None or re.fullmatch(quotes_nothing, problem)


@given(st.integers(PREFIX_BYTES, 200), st.integers(0, 255))
def test_a_changed_byte_is_read_or_is_an_error_of_ours(at: int, to: int) -> None:
    data = bytearray(EVENT.encode(EXAMPLE))
    data[min(at, len(data) - 1)] = to
    decoding_problem(bytes(data))


def decoding_problem(data: bytes) -> str | None:
    """None when it is read; anything but Undecodable is raised."""
    try:
        EVENT.decode(data)
    except Undecodable as error:
        return str(error)
    return None


def test_the_resource_key_and_the_dedupe_id_keep_their_parts_apart() -> None:
    assert EXAMPLE.resource_key == "acme/acme-github/issue/51#7"
    assert resource_key("a", "b", "c", "d/e") == "a/b/c/d/e"
    assert EXAMPLE.dedupe_id == dedupe_id("acme", "acme-github", "72d3162e")
    assert len(EXAMPLE.dedupe_id) == 16
    assert EXAMPLE.idempotency_key == EXAMPLE.dedupe_id.hex()
    ids = {dedupe_id(*parts) for parts in (("a", "bc", "d"), ("ab", "c", "d"), ("a", "b", "cd"))}
    assert len(ids) == 3


def test_the_dedupe_id_never_changes_or_old_events_would_be_applied_again() -> None:
    assert dedupe_id("acme", "acme-github", "72d3162e").hex() == "0987f7398d4a79a0bac39d797045c976"


def canonical(schema: Any) -> str:
    """Parsing Canonical Form (Avro 1.12 specification), for the schemas that we have."""

    def form(part: Any, namespace: str) -> Any:
        if isinstance(part, list):
            return [form(branch, namespace) for branch in part]
        if isinstance(part, str):
            return part
        kind = part["type"]
        if kind == "map":
            return {"type": "map", "values": form(part["values"], namespace)}
        if kind not in ("record", "enum", "fixed"):
            return kind
        namespace = part.get("namespace", namespace)
        result = {"name": f"{namespace}.{part['name']}", "type": kind}
        if kind == "record":
            result["fields"] = [
                {"name": field["name"], "type": form(field["type"], namespace)}
                for field in part["fields"]
            ]
        for name in ("symbols", "size"):
            if name in part:
                result[name] = part[name]
        return result

    return json.dumps(form(schema, ""), separators=(",", ":"))


def rabin(canonical_form: str) -> int:
    """CRC-64-AVRO (Avro 1.12 specification, "Schema Fingerprints"), bit by bit."""
    empty = 0xC15D213AA4D7A795
    value = empty
    for byte in canonical_form.encode():
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (empty if value & 1 else 0)
    return value
