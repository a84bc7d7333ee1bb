"""Nothing that was answered is lost or out of order, whatever fails and whenever it is killed."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from producer.publish.drain import Drain
from producer.publish.gathering import Gathering
from producer.publish.pending import Pending
from producer.publish.spool import Spool
from producer.publish.spooling_sink import Circuit, SpoolingSink
from tests.publish.spool_simulation import Breach, simulate

SEEDS = int(os.environ.get("HOOKLINE_SPOOL_SEEDS", "150"))
PARTS = 5


@pytest.mark.parametrize("part", range(PARTS))
def test_every_seed_keeps_the_promises(part: int) -> None:
    seen = {"spooled": 0, "closed": 0, "lives": 0}
    for seed in range(part, SEEDS, PARTS):
        world, said = simulate(seed)
        assert world.answered, said
        seen["spooled"] += world.most_spooled > 0
        seen["closed"] += world.closed_circuits
        seen["lives"] += world.lives
    assert seen["spooled"] > SEEDS / PARTS / 2, "hardly any seed has come to the spool"
    assert seen["closed"] > SEEDS / PARTS / 2, "hardly any seed has come back from it"


def answers_before_the_disk(patch: pytest.MonkeyPatch) -> None:
    append = Spool.append

    def early(self: Spool, record: object, waiter: object, **more: bool) -> object:
        row = append(self, record, None, **more)  # type: ignore[arg-type]
        if waiter is not None:
            waiter.set_result((-1, -1))  # type: ignore[attr-defined]
        return row

    patch.setattr(Spool, "append", early)


def removes_before_the_report(patch: pytest.MonkeyPatch) -> None:
    sent = Drain.sent

    def remove(self: Drain, entry: object) -> None:
        sent(self, entry)  # type: ignore[arg-type]
        for sink in sinks:
            if sink._drain is self:
                sink.spool._work.removed.append(entry.row.number)  # type: ignore[attr-defined]

    sinks: list[SpoolingSink] = []
    start = SpoolingSink.start

    def started(self: SpoolingSink, publisher: object) -> None:
        sinks.append(self)
        start(self, publisher)  # type: ignore[arg-type]

    patch.setattr(Drain, "sent", remove)
    patch.setattr(SpoolingSink, "start", started)


def goes_direct_while_the_spool_drains(patch: pytest.MonkeyPatch) -> None:
    step = SpoolingSink._step

    def early(self: SpoolingSink) -> None:
        step(self)
        if self._publisher.ready()[0] and self.circuit is Circuit.OPEN:
            self.publish = self._publisher.publish

    patch.setattr(SpoolingSink, "_step", early)


def does_not_wait_after_a_failure(patch: pytest.MonkeyPatch) -> None:
    fail = Drain.fail

    def go_on(self: Drain, number: int, permanent: bool) -> object:
        failed = fail(self, number, permanent)
        self.halted = False
        if self._again:
            # Behind what comes.
            self._read.append(self._again.pop())
        return failed

    patch.setattr(Drain, "fail", go_on)


def forgets_what_is_in_flight(patch: pytest.MonkeyPatch) -> None:
    take_over = SpoolingSink.take_over

    def answer(self: SpoolingSink, pending: list) -> None:  # type: ignore[type-arg]
        for one in pending:
            one.future.set_result((-1, -1))
        take_over(self, [])

    patch.setattr(SpoolingSink, "take_over", answer)


def passes_what_waits(patch: pytest.MonkeyPatch) -> None:
    put = Gathering.put

    def at_once(self: Gathering, pending: Pending) -> None:
        if len(self._held) == 1:
            self._produce(pending)
        else:
            put(self, pending)

    patch.setattr(Gathering, "put", at_once)


@pytest.mark.parametrize(
    "sabotage",
    [
        answers_before_the_disk,
        removes_before_the_report,
        goes_direct_while_the_spool_drains,
        does_not_wait_after_a_failure,
        forgets_what_is_in_flight,
        passes_what_waits,
    ],
)
def test_a_broken_promise_is_seen(
    sabotage: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotage(monkeypatch)
    for seed in range(60):
        try:
            simulate(seed)
        except Breach:
            return
    pytest.fail("60 seeds did not notice")
