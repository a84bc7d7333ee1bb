"""The story of a request in the order of its steps, and what to do next: pure, from rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from consumer.monitor.contract import FINE, RequestStory
from consumer.stores.operations import StoredLetter
from schemas.event import resource_key
from schemas.execution import Execution, Reception

_US: Final = 1_000
_GATEWAY_STEPS: Final = ("read", "verify", "identify", "encode", "publish")


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A timed part of the way. `began_us` is Unix µs; `of` is what it is a part of."""

    name: str
    began_us: int
    duration_ns: int
    of: str = ""
    note: str = ""
    failed: bool = False


class ParkedNow(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the request that is parked at this moment."""

    key: str
    offset: int
    reason: str
    attempts: int
    retry_at_ms: int


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """All that can be told of a request."""

    request_id: str
    story: RequestStory
    letters: tuple[StoredLetter, ...] = ()
    parked: tuple[ParkedNow, ...] = ()
    #: Why the consumer's store was not asked; empty if it was.
    store_problem: str = ""


def reception_steps(row: Reception) -> list[Step]:
    """The gateway's steps, one after the other from its first byte on."""
    at_ns = row.received_at_us * _US - row.read_ns
    steps = []
    for name in _GATEWAY_STEPS:
        duration_ns = getattr(row, f"{name}_ns")
        if duration_ns:
            steps.append(Step(name=name, began_us=at_ns // _US, duration_ns=duration_ns))
            at_ns += duration_ns
    return steps


def execution_steps(row: Execution, *, gateway: bool) -> list[Step]:
    """A consumer group's steps; with `gateway` those of the gateway that the event carries, too."""
    steps: list[Step] = []
    if gateway:
        at_ns = row.received_at_us * _US - row.read_ns
        for name in _GATEWAY_STEPS[:3]:
            duration_ns = getattr(row, f"{name}_ns")
            if duration_ns:
                steps.append(Step(name=name, began_us=at_ns // _US, duration_ns=duration_ns))
                at_ns += duration_ns
    if row.in_kafka_at_us:
        steps.append(Step(name="queue", began_us=row.in_kafka_at_us, duration_ns=row.queue_ns))
    steps.append(Step(name="lane", began_us=row.polled_at_us, duration_ns=row.lane_ns))
    for attempt in row.attempts:
        steps.append(
            Step(
                name=f"attempt {attempt.number}",
                of="lane",
                began_us=attempt.began_at_us,
                duration_ns=attempt.duration_ns,
                note=f"{attempt.error_type} ({attempt.outcome})",
                failed=True,
            )
        )
    if row.handler_ns and not (row.outcome not in FINE and row.attempts):
        began_us = row.polled_at_us + row.lane_ns // _US
        steps.append(Step(name="handler", began_us=began_us, duration_ns=row.handler_ns))
    steps.append(
        Step(
            name="commit",
            began_us=row.committed_at_us - row.commit_ns // _US,
            duration_ns=row.commit_ns,
        )
    )
    return steps


def key_of(row: Execution) -> str:
    """The Kafka key of an event."""
    return resource_key(row.tenant, row.connection, row.resource_type, row.resource_id)


def next_steps(told: Told) -> list[str]:
    """What a person does next, one line each; empty where nothing has to be done."""
    lines: list[str] = []
    for letter in told.letters:
        number = letter.number
        lines.append(f"hookline dead-letters show {number}")
        lines.append(f"hookline dead-letters redrive {number} --dry-run")
    for key in dict.fromkeys(item.key for item in told.parked):
        lines.append(f"hookline parked retry '{key}' --dry-run")
    if lines:
        return lines
    executions, receptions = told.story.executions, told.story.receptions
    last = _last_of_each(executions)
    if any(row.outcome == "dead_lettered" for row in last) and not told.store_problem:
        lines.append("its dead letter is gone: it was redriven or discarded since")
    if any(row.outcome == "parked" for row in last) and not told.store_problem:
        lines.append("it is parked no more, and what became of it is not in the log yet")
    if told.store_problem and any(row.outcome not in FINE for row in last):
        lines.append(f"the consumer's store cannot be asked: {told.store_problem}")
    if not executions:
        lines += [line for row in receptions for line in _of_reception(row)]
    return lines


def _last_of_each(rows: Sequence[Execution]) -> list[Execution]:
    """The latest row of each event in each group."""
    return list({(row.group, row.topic, row.partition, row.offset): row for row in rows}.values())


def _of_reception(row: Reception) -> list[str]:
    if row.status == 401:
        return [
            f"its signature was not believed ({row.outcome}): hookline secrets check "
            f"{row.connection}"
        ]
    if row.status == 404:
        return ["no connection of that name takes webhooks here: hookline connections list"]
    if row.status == 429:
        return [f"connection {row.connection} is at its limits (docs/operations.md, Limits)"]
    if row.refused:
        return [f"the gateway answered {row.status} ({row.outcome}); its sender tries again"]
    if row.outcome == "quarantined":
        return ["it is on the quarantine topic: authentic, and its provider's rules cannot read it"]
    if not row.events:
        return []
    if row.offset < 0:
        return ["the gateway's spool took it: hookline spool status"]
    return [
        "no consumer group has told of it yet: look at its lag with hookline top --once, and "
        "whether telemetry.executions leaves some out"
    ]


def as_json(told: Told, link: str | None) -> dict[str, Any]:
    """The whole as one JSON object; ids as hex, times as in `schemas/execution.py`."""
    receptions = [_plain(row) for row in told.story.receptions]
    for row, shown in zip(told.story.receptions, receptions, strict=True):
        shown["steps"] = [msgspec.to_builtins(step) for step in reception_steps(row)]
    executions = [_plain(row) for row in told.story.executions]
    for execution, shown in zip(told.story.executions, executions, strict=True):
        steps = execution_steps(execution, gateway=not receptions)
        shown["steps"] = [msgspec.to_builtins(step) for step in steps]
        shown["resource_key"] = key_of(execution)
    return {
        "request_id": told.request_id,
        "receptions": receptions,
        "executions": executions,
        "dead_letters": [
            {
                "number": stored.number,
                "reason": stored.letter.reason,
                "detail": stored.letter.detail,
                "group": stored.letter.group,
                "attempts": stored.letter.attempts,
                "died_at_us": stored.letter.died_at_us,
                "resource_key": stored.resource_key,
            }
            for stored in told.letters
        ],
        "parked": [msgspec.to_builtins(item) for item in told.parked],
        "store_problem": told.store_problem,
        "next": next_steps(told),
        "trace_url": link,
    }


def _plain(row: Execution | Reception) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.structs.asdict(row)
    shown["request_id"] = row.request_id.hex()
    if "attempts" in shown:
        shown["attempts"] = [msgspec.structs.asdict(attempt) for attempt in shown["attempts"]]
    return shown
