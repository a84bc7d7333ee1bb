"""A connection and a revocation as bytes, and what no build may guess at."""

from __future__ import annotations

import contextlib
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import CONNECTION, REVOCATION, load_schemas, schema_prefix
from schemas.connection import Connection, ConnectionState, SecretReference
from schemas.connection_record import ConnectionRecord, Revocation, Writer
from schemas.errors import CodecError, Undecodable

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
seconds = st.none() | st.integers(0, 4_000_000_000).map(float)
options = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
references = st.builds(
    SecretReference,
    name=text,
    ref=text.map(lambda place: f"env:{place}x"),
    not_before_s=seconds,
    not_after_s=seconds,
    environment=text,
)
records = st.builds(
    ConnectionRecord,
    connection=st.builds(
        Connection,
        **dict.fromkeys(("id", "tenant", "provider", "environment"), text),
        secrets=st.lists(references, max_size=4).map(tuple),
        options=st.dictionaries(text, options, max_size=3),
        state=st.sampled_from(ConnectionState),
    ),
    written_by=st.sampled_from(Writer),
    changed_at_us=st.integers(0, 2**62),
    changed_by=text,
    file_digest=text,
)


@given(records)
def test_a_connection_is_read_as_it_was_written(record: ConnectionRecord) -> None:
    assert CONNECTION.decode(CONNECTION.encode(record)) == record


@given(text, text, text, st.integers(0, 2**62))
def test_a_revocation_is_read_as_it_was_written(one: str, two: str, three: str, at: int) -> None:
    revocation = Revocation(
        environment=one, connection=two, secret_name=three, revoked_at_us=at, revoked_by=one
    )
    assert REVOCATION.decode(REVOCATION.encode(revocation)) == revocation


@given(records, st.data())
def test_bytes_that_are_cut_or_changed_raise_nothing_but_ours(
    record: ConnectionRecord, data: st.DataObject
) -> None:
    whole = bytearray(CONNECTION.encode(record))
    at = data.draw(st.integers(0, len(whole) - 1))
    for bad in (bytes(whole[:at]), bytes([*whole[:at], whole[at] ^ 0x55, *whole[at + 1 :]])):
        with contextlib.suppress(CodecError):
            CONNECTION.decode(bad)


@pytest.mark.parametrize(
    "change",
    [
        {"state": "UNKNOWN"},
        {"written_by": "UNKNOWN"},
        {"options": "[]"},
        {"options": "{"},
        {"secrets": [{"name": "1", "ref": "hunter2"}]},
    ],
)
def test_what_a_later_version_may_mean_or_a_literal_secret_is_not_read(
    change: dict[str, Any],
) -> None:
    schema = load_schemas("connection")[1]
    good = {"id": "a", "tenant": "t", "provider": "github", "environment": "test",
            "state": "ACTIVE", "written_by": "FILE", "changed_at": 1}  # fmt: skip
    for record in (good, {**good, **change}):
        buffer = BytesIO(schema_prefix(schema))
        buffer.seek(0, 2)
        fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), record)
        if record is good:
            assert CONNECTION.decode(buffer.getvalue()).connection.id == "a"
            continue
        with pytest.raises(Undecodable) as caught:
            CONNECTION.decode(buffer.getvalue())
        assert "hunter2" not in str(caught.value)
