"""How each request was taken, for the execution log: gathered, and written once a second.

Rule: it costs a webhook one tuple, never waits, and never grows: what finds no room is counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from producer.gateway.connections import Entry
from producer.gateway.envelopes import Arrival
from producer.gateway.outbox import Position
from schemas.connection import Connection
from schemas.execution_batch import RECEPTIONS, SAMPLED, Receptions
from schemas.execution_sampling import ExecutionSampling
from schemas.metrics import EXECUTIONS_DROPPED

_WRITE_S: Final = 1.0
_MAX_ROWS: Final = 2_000
#: Refused requests in a write: a flood of forgeries must not be a flood of the log as well.
_MAX_REFUSED: Final = 1_000
_NOBODY: Final = ("", "", "")

#: Hands a message to Kafka, or says why it does not: a label of a closed set.
Send = Callable[[bytes], str]


class Row(NamedTuple):
    """One request: the fields of `schemas.execution.Reception` as they are known here."""

    request_id: bytes
    #: None where it is of no known connection.
    connection: Connection | None
    outcome: str
    status: int
    received_at_us: int
    read_ns: int
    verify_ns: int
    identify_ns: int
    encode_ns: int
    publish_ns: int
    total_ns: int
    events: int = 0
    partition: int = -1
    offset: int = -1
    sampled: bool = False


class ReceptionLog:
    """Used on one event loop."""

    def __init__(
        self, send: Send, *, environment: str, instance: str, sampling: ExecutionSampling
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._environment = environment
        self._instance = instance
        self._sampling = sampling
        self._all = sampling.one_in == 1
        self._rows: list[tuple[Row, int]] = []
        self._refused = 0
        self._timer: asyncio.TimerHandle | None = None
        self.dropped: Counter[str] = Counter()

        def dropped(_: CallbackOptions) -> Iterable[Observation]:
            return [
                Observation(count, {"writer": "gateway", "reason": reason})
                for reason, count in self.dropped.copy().items()
            ]

        meter = metrics.get_meter("hookline.gateway")
        meter.create_observable_counter(EXECUTIONS_DROPPED, callbacks=[dropped])

    def note(self, row: Row) -> None:
        """A request was answered."""
        weight = 1
        refused = row.status >= 400
        if refused:
            if self._refused >= _MAX_REFUSED:
                self.dropped["refused"] += 1
                return
            self._refused += 1
        if not self._all:
            # What was set aside may be asked for by its id, too.
            weight = self._sampling.weight(
                row.request_id,
                row.total_ns // 1000,
                remarkable=refused or row.outcome != "accepted",
            )
            if not weight:
                return
        rows = self._rows
        rows.append((row, weight))
        if len(rows) >= _MAX_ROWS:
            self.write()
        elif self._timer is None:
            self._timer = self._loop.call_later(_WRITE_S, self._write_in_time)

    def write(self) -> None:
        """Hand over what is gathered."""
        if not self._rows:
            return
        rows, self._rows = self._rows, []
        problem = self._send(RECEPTIONS.encode(self._batch(rows)))
        if problem:
            self.dropped[problem] += len(rows)

    def close(self) -> None:
        """The last ones."""
        if self._timer is not None:
            self._timer.cancel()
        self.write()

    def _write_in_time(self) -> None:
        self._timer = None
        self._refused = 0
        self.write()

    def _batch(self, weighted: list[tuple[Row, int]]) -> Receptions:
        rows, weights = zip(*weighted, strict=True)
        columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)]
        names: dict[tuple[str, str, str], int] = {}
        outcomes: dict[str, int] = {}
        known: list[int] = []
        for connection in columns[1]:
            name = _NOBODY
            if connection is not None:
                name = (connection.id, connection.tenant, connection.provider)
            known.append(names.setdefault(name, len(names)))
        return Receptions(
            environment=self._environment,
            instance=self._instance,
            outcome=[outcomes.setdefault(name, len(outcomes)) for name in columns[2]],
            connection=known,
            connections=[
                {"connection": connection, "tenant": tenant, "provider": provider}
                for connection, tenant, provider in names
            ],
            outcomes=list(outcomes),
            request_ids=b"".join(columns[0]),
            statuses=columns[3],
            received_at=columns[4],
            read_ns=columns[5],
            verify_ns=columns[6],
            identify_ns=columns[7],
            encode_ns=columns[8],
            publish_ns=columns[9],
            total_ns=columns[10],
            events=columns[11],
            partitions=columns[12],
            offsets=columns[13],
            flags=[SAMPLED if sampled else 0 for sampled in columns[14]],
            weights=list(weights),
        )


def as_taken(
    arrival: Arrival,
    outcome: str,
    marks: tuple[int, ...],
    events: int,
    position: Position | None,
    sampled: bool,
) -> Row:
    """The row of a request whose events are safe; `marks` as in `accounts.server_timing`."""
    began_ns, read_ns, verified_ns, identified_ns, encoded_ns, ended_ns = marks
    return Row(
        arrival.request.request_id,
        arrival.entry.connection,
        outcome,
        200,
        int(arrival.now_s * 1e6),
        read_ns - began_ns,
        verified_ns - read_ns,
        identified_ns - verified_ns,
        encoded_ns - identified_ns,
        ended_ns - encoded_ns,
        ended_ns - began_ns,
        events,
        -1 if position is None else position.partition,
        -1 if position is None else position.offset,
        sampled,
    )


def nothing_came(
    request_id: bytes,
    entry: Entry | None,
    outcome: str,
    status: int,
    now_s: float,
    total_ns: int,
    trace: object | None,
) -> Row:
    """The row of a request that came to no event; `trace` is what it has of spans."""
    return Row(
        request_id,
        None if entry is None else entry.connection,
        outcome,
        status,
        int(now_s * 1e6),
        read_ns=0,
        verify_ns=0,
        identify_ns=0,
        encode_ns=0,
        publish_ns=0,
        total_ns=total_ns,
        sampled=trace is not None,
    )
