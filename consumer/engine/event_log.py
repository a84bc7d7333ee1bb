"""One DEBUG line for each event that ended, with its steps; found by its request id."""

from __future__ import annotations

import logging

from consumer.core.disposition import Outcome
from consumer.engine.group_commit import BatchResult
from consumer.engine.record import Record, steps_ms

log = logging.getLogger("hookline.consumer")


def log_each(result: BatchResult) -> None:
    """Log what a committed batch did."""
    ended: list[tuple[Record, Outcome]] = [
        pair for run in result.runs for pair in zip(run.run.items, run.outcomes, strict=False)
    ]
    ended += [(run.items[0], outcome) for run, outcome in result.settled]
    for record, outcome in ended:
        event = record.event
        log.debug(
            outcome.value,
            extra={
                "data": {
                    "request_id": event.request_id.hex() if event else None,
                    "event_id": event.event_id if event else None,
                    "event_type": event.event_type if event else None,
                    "resource_key": event.resource_key if event else None,
                    "partition": record.partition.number,
                    "offset": record.offset,
                    "attempts": record.attempts,
                    "steps": steps_ms(record, result.ended_ns, result.commit_began_ns),
                }
            },
        )
