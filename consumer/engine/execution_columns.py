"""The events of a group commit as columns, straight from their records: pure.

Each column is a comprehension of its own, and nothing is made for an event: that is what keeps
the execution log below a tenth of what its events cost.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import MutableSequence, Sequence
from itertools import count
from typing import Any, Final

import msgspec

from consumer.core.disposition import Outcome
from consumer.engine.record import Record
from schemas.event import Event
from schemas.execution_batch import SAMPLED, WAS_PARKED, Executions, Kind, attempt_item
from schemas.execution_sampling import RANDOM_AT, ExecutionSampling
from schemas.probe import is_probe
from schemas.request_id import SIZE_BYTES, unix_ms

NO_REQUEST_ID: Final = bytes(SIZE_BYTES)

#: Somebody will ask where such an event is, or why it had no effect.
_REMARKABLE: Final = frozenset({Outcome.PARKED, Outcome.DEAD_LETTERED, Outcome.STALE})
_WITH_REASON: Final = frozenset({Outcome.PARKED, Outcome.DEAD_LETTERED})
_KIND_FIELDS: Final = Kind.__struct_fields__
_NUMBERS: Final = (
    *("kind", "partitions", "offsets", "outcome", "occurred_at", "received_at", "in_kafka_at"),
    *("polled_at", "read_ns", "verify_ns", "identify_ns", "lane_ns", "handler_ns", "failures"),
    "flags",
)
#: So few records at a time that they stay in the processor's cache while their columns are taken.
_BLOCK: Final = 100


class Origin(msgspec.Struct, frozen=True):
    """Who writes: the same in every batch of a process."""

    environment: str
    group: str
    #: `host:pid`.
    instance: str


class Committed(msgspec.Struct, frozen=True, gc=False):
    """What a group commit ended: item i of each. Times `_ns` are monotonic."""

    records: Sequence[Record]
    outcomes: Sequence[Outcome]
    began_ns: int
    ended_ns: int


def weighed(
    committed: Committed, sampling: ExecutionSampling, committed_at_us: int
) -> tuple[Committed, Sequence[int]]:
    """What of a commit is to be written, and for how many each event stands."""
    records, outcomes = committed.records, committed.outcomes
    one_in, bound = sampling.one_in, sampling.bound
    if one_in == 1:
        return committed, array("q", [1]) * len(records)
    slow_before_us = committed_at_us - sampling.slow_us
    weights = [
        # As `ExecutionSampling.weight`, whose call would cost more than a column.
        1
        if outcome in _REMARKABLE
        or record.attempts
        or record.parked_at_ms
        or (event := record.event) is None
        or event.received_at_us <= slow_before_us
        # Somebody waits for it.
        or is_probe(event.event_type)
        else (one_in if event.request_id[RANDOM_AT:] < bound else 0)
        for record, outcome in zip(records, outcomes, strict=True)
    ]
    kept = Committed(
        [record for record, weight in zip(records, weights, strict=True) if weight],
        [outcome for outcome, weight in zip(outcomes, weights, strict=True) if weight],
        committed.began_ns,
        committed.ended_ns,
    )
    return kept, [weight for weight in weights if weight]


def columns(
    origin: Origin, committed: Committed, weights: Sequence[int], committed_at_us: int
) -> Executions:
    """A batch of at least one event; `committed_at_us` is the wall's time of its end."""
    records, outcomes = committed.records, committed.outcomes
    began_ns, ended_ns = committed.began_ns, committed.ended_ns
    wall_us = committed_at_us - ended_ns // 1000
    kinds: defaultdict[tuple[str, ...], int] = defaultdict(count().__next__)
    codes = {outcome: code for code, outcome in enumerate(dict.fromkeys(outcomes))}
    request_ids: list[bytes] = []
    event_ids: list[str] = []
    resource_ids: list[str] = []
    numbers = {name: array("q") for name in _NUMBERS}
    put = {name: column.fromlist for name, column in numbers.items()}
    for first in range(0, len(records), _BLOCK):
        block = records[first : first + _BLOCK]
        events = [record.event or _unreadable(record) for record in block]
        request_ids += [event.request_id for event in events]
        event_ids += [event.event_id for event in events]
        resource_ids += [event.resource_id for event in events]
        put["kind"](
            [
                kinds[
                    event.environment,
                    event.tenant,
                    event.connection,
                    event.provider,
                    event.event_type,
                    event.resource_type,
                    event.source,
                ]
                for event in events
            ]
        )
        put["occurred_at"]([event.occurred_at_us or 0 for event in events])
        put["received_at"]([event.received_at_us for event in events])
        put["read_ns"]([event.read_ns for event in events])
        put["verify_ns"]([event.verify_ns for event in events])
        put["identify_ns"]([event.identify_ns for event in events])
        put["partitions"]([record.partition.number for record in block])
        put["offsets"]([record.offset for record in block])
        put["failures"]([record.attempts for record in block])
        # Kafka's time of an event that comes from where it was parked is not kept there.
        put["in_kafka_at"](
            [0 if record.parked_at_ms else record.timestamp_ms * 1000 for record in block]
        )
        put["polled_at"]([record.polled_ns // 1000 + wall_us for record in block])
        # One that no handler was called for waited until its transaction began.
        put["lane_ns"]([(record.started_ns or began_ns) - record.polled_ns for record in block])
        put["handler_ns"](
            [record.started_ns and record.handled_ns - record.started_ns for record in block]
        )
        put["flags"](
            [
                (SAMPLED if record.parent is not None else 0)
                | (WAS_PARKED if record.parked_at_ms else 0)
                for record in block
            ]
        )
    numbers["outcome"].fromlist([codes[outcome] for outcome in outcomes])
    reasons: list[dict[str, Any]] = []
    attempts: list[dict[str, Any]] = []
    failures = numbers["failures"]
    if any(failures) or not _WITH_REASON.isdisjoint(codes):
        _explain(committed, failures, reasons, attempts)
    return Executions(
        environment=origin.environment,
        group=origin.group,
        instance=origin.instance,
        topic=records[0].partition.topic,
        committed_at=committed_at_us,
        commit_ns=ended_ns - began_ns,
        kinds=[dict(zip(_KIND_FIELDS, of, strict=True)) for of in kinds],
        outcomes=[outcome.value for outcome in codes],
        request_ids=b"".join(request_ids),
        event_ids=event_ids,
        resource_ids=resource_ids,
        weights=weights,
        reasons=reasons,
        attempts=attempts,
        **numbers,
    )


def _explain(
    committed: Committed,
    failures: MutableSequence[int],
    reasons: list[dict[str, Any]],
    attempts: list[dict[str, Any]],
) -> None:
    """Why events were given up on or parked, and which calls failed: few, as a rule."""
    for index, (record, outcome) in enumerate(
        zip(committed.records, committed.outcomes, strict=True)
    ):
        if record.problem is not None:
            # What cannot be decoded is tried, but no handler was called.
            failures[index] = 0
        if outcome is Outcome.DEAD_LETTERED and record.letter is not None:
            reasons.append({"index": index, "reason": record.letter.reason})
        elif outcome is Outcome.PARKED:
            reasons.append({"index": index, "reason": record.park_reason})
        for attempt in record.failed or ():
            attempts.append(attempt_item(index, attempt))


def _unreadable(record: Record) -> Event:
    """What is known of an event that cannot be decoded: its place, and its header's request id."""
    request_id = record.request_id
    at_us = unix_ms(request_id) * 1000 if request_id else record.timestamp_ms * 1000
    return Event(
        request_id=request_id or NO_REQUEST_ID,
        environment="",
        tenant="",
        connection="",
        provider="",
        event_id="",
        event_type="",
        resource_type="",
        resource_id="",
        source="UNKNOWN",
        received_at_us=at_us,
        payload=b"",
    )
