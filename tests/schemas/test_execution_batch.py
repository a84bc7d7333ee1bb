"""Executions and receptions in columns: what goes in comes out, and nothing else passes for it."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import EVENT
from schemas.errors import CodecError, NotSingleObject, Undecodable
from schemas.execution import MAX_ATTEMPTS, Attempt, Execution, Reception
from schemas.execution_batch import (
    EXECUTIONS,
    RECEPTIONS,
    decode_rows,
    executions_of,
    receptions_of,
)
from tests.schemas.test_codec import EXAMPLE

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
long = st.integers(-(2**63), 2**63 - 1)
ids = st.binary(min_size=16, max_size=16)
attempts = st.builds(
    Attempt,
    number=st.integers(0, 2**31 - 1),
    began_at_us=long,
    duration_ns=long,
    outcome=text,
    error_type=text,
)


def struct(kind: type[Any], **fixed: Any) -> st.SearchStrategy[Any]:
    of = {bytes: ids, str: text, int: long, bool: st.booleans()}
    fields = {
        name: of[annotation]
        for name, annotation in ((f.name, f.type) for f in msgspec.structs.fields(kind))
        if name not in fixed and annotation in of
    }
    return st.builds(kind, **(fields | {name: st.just(value) for name, value in fixed.items()}))


SHARED = {
    "group": "billing",
    "instance": "host:1",
    "topic": "hookline.events",
    "committed_at_us": 1_764_000_000_000_000,
    "commit_ns": 8_000_000,
}
executions = st.builds(
    lambda row, tried: msgspec.structs.replace(row, attempts=tuple(tried)),
    struct(Execution, environment="test", attempts=(), **SHARED),
    st.lists(attempts, max_size=MAX_ATTEMPTS),
)
receptions = struct(Reception, environment="test", instance="host:1")


@given(st.lists(executions, min_size=1, max_size=8))
def test_executions_come_back_as_they_were(rows: list[Execution]) -> None:
    assert decode_rows(EXECUTIONS.encode(executions_of(rows))) == rows


@given(st.lists(receptions, min_size=1, max_size=8))
def test_receptions_come_back_as_they_were(rows: list[Reception]) -> None:
    assert decode_rows(RECEPTIONS.encode(receptions_of(rows))) == rows


@given(st.binary(max_size=200))
def test_rubbish_is_a_codec_error(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode_rows(data)


@given(st.lists(executions, min_size=1, max_size=3), st.data())
def test_a_batch_that_was_cut_or_changed_is_rows_or_a_codec_error(
    rows: list[Execution], data: st.DataObject
) -> None:
    whole = EXECUTIONS.encode(executions_of(rows))
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole[:at] if data.draw(st.booleans()) else whole)
    if at < len(changed):
        changed[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(CodecError):
        decode_rows(bytes(changed))


def test_another_record_is_not_taken_for_a_batch() -> None:
    with pytest.raises((NotSingleObject, Undecodable, CodecError)):
        decode_rows(EVENT.encode(EXAMPLE))


def test_columns_of_different_lengths_are_refused() -> None:
    batch = executions_of([execution(1), execution(2)])
    batch.offsets.pop()
    with pytest.raises(Undecodable, match="column offsets"):
        decode_rows(EXECUTIONS.encode(batch))


def test_an_index_beyond_its_list_is_refused() -> None:
    batch = executions_of([execution(1)])
    batch.kind[0] = 7
    with pytest.raises(Undecodable, match="points beyond"):
        decode_rows(EXECUTIONS.encode(batch))


def test_an_event_takes_few_bytes() -> None:
    rows = [execution(number) for number in range(500)]
    assert len(EXECUTIONS.encode(executions_of(rows))) < 500 * 200


def test_an_id_with_a_nul_does_not_shift_the_ids_of_others() -> None:
    rows = [execution(number) for number in range(3)]
    rows[1] = msgspec.structs.replace(rows[1], event_id="a\0b", resource_id="\0")
    read = decode_rows(EXECUTIONS.encode(executions_of(rows)))
    assert [row.event_id for row in read] == [rows[0].event_id, "a\ufffdb", rows[2].event_id]
    alone = decode_rows(EXECUTIONS.encode(executions_of(rows[1:2])))
    assert [row.resource_id for row in alone] == ["\ufffd"]


def test_times_that_follow_from_others() -> None:
    row = execution(1)
    assert row.queue_ns == 1_000_000
    assert row.end_to_end_ns == 3_000_000
    backwards = msgspec.structs.replace(row, polled_at_us=0, committed_at_us=0)
    assert backwards.queue_ns == backwards.end_to_end_ns == 0
    assert msgspec.structs.replace(row, in_kafka_at_us=0).queue_ns == 0


def execution(number: int) -> Execution:
    at_us = 1_764_000_000_000_000
    return Execution(
        request_id=number.to_bytes(16, "big"),
        environment="test",
        tenant="acme",
        connection="shop",
        provider="stripe",
        event_type="stripe.charge.updated",
        event_id=f"evt_{number:020}",
        resource_type="charge",
        resource_id=str(number),
        source="WEBHOOK",
        group="billing",
        instance="host:1",
        topic="hookline.events",
        partition=1,
        offset=number,
        outcome="applied",
        received_at_us=at_us,
        in_kafka_at_us=at_us + 1_000,
        polled_at_us=at_us + 2_000,
        committed_at_us=at_us + 3_000,
    )
