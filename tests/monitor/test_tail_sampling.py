"""From rows in a real monitor's store to whole traces: which are made, once each, within bounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from consumer.monitor.contract import RequestStory, Span
from consumer.monitor.sqlite import SqliteMonitor
from consumer.monitor.tail_sampling import MAX_WAITING, WAIT_S, TailSampler
from consumer.monitor.tail_spans import APPROXIMATE, SpanData
from schemas.errors import StoreUnavailable
from schemas.execution import Execution, Reception
from tests.commands.execution_rows import execution, fresh_id, reception

TOPIC = "hookline.executions"


class Rig:
    """A sampler on a store, with a clock of its own; what it exported is in `spans`."""

    def __init__(self, folder: Path, *, max_per_s: int = 1000) -> None:
        self.store = SqliteMonitor(folder / "monitor.db")
        self.now_s = 100.0
        self.spans: list[SpanData] = []
        self.sampler = TailSampler(
            self.spans.extend,
            self.store,
            topic="hookline.events",
            slow_ns=5_000_000_000,
            max_per_s=max_per_s,
            monotonic_s=lambda: self.now_s,
        )
        self._next = 0

    def read(self, *rows: Execution | Reception) -> None:
        """As the monitor does: into the store, then to its followers."""
        first = self._next or None
        self._next += 1
        self.store.append(rows, TOPIC, {0: Span(first, self._next)})
        self.sampler.follow(rows)

    def later(self, by_s: float = WAIT_S) -> list[str]:
        """The names of what is exported by the chore after a while."""
        self.now_s += by_s
        before = len(self.spans)
        while self.sampler.run():
            pass
        return names(self.spans[before:])


def names(spans: Sequence[SpanData]) -> list[str]:
    return [span.name.partition(" ")[0] for span in spans]


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


WHOLE = ["POST", "send", "process", "process", "process", "commit"]


def test_an_event_that_was_retried_has_its_whole_trace(rig: Rig) -> None:
    rid = fresh_id()
    rig.read(reception(rid))
    rig.read(execution(rid), execution(fresh_id(), failures=0, attempts=()))
    assert rig.later() == WHOLE
    assert {span.request_id for span in rig.spans} == {rid}
    assert rig.spans[0].end_ns - rig.spans[0].start_ns == 7_700_000
    assert rig.sampler.counts.rows == 1
    assert rig.later() == []


def test_a_request_that_comes_later_than_its_event_is_joined(rig: Rig) -> None:
    rid = fresh_id()
    rig.read(execution(rid))
    assert rig.later(WAIT_S - 0.1) == []
    rig.read(reception(rid))
    assert rig.later(0.2) == WHOLE
    assert APPROXIMATE not in rig.spans[0].attributes


def test_without_its_request_a_trace_is_made_of_the_event_alone(rig: Rig) -> None:
    rig.read(execution(fresh_id()))
    assert rig.later() == WHOLE
    assert rig.spans[0].attributes[APPROXIMATE] is True
    assert rig.sampler.counts.approximate == 1


def test_what_the_processes_exported_is_not_made_again(rig: Rig) -> None:
    rid = fresh_id()
    rig.read(reception(rid, sampled=True), execution(rid, sampled=True))
    assert rig.later() == []
    # The gateway exports and this consumer does not.
    rid = fresh_id()
    rig.read(reception(rid, sampled=True), execution(rid))
    assert rig.later() == ["process", "process", "process", "commit"]


def test_what_has_no_id_has_no_trace(rig: Rig) -> None:
    rig.sampler.follow([execution(bytes(16), outcome="dead_lettered", reason="undecodable")])
    assert rig.later() == []


def test_two_groups_and_a_second_round_share_the_gateways_spans(rig: Rig) -> None:
    rid = fresh_id()
    rig.read(reception(rid))
    rig.read(execution(rid), execution(rid, group="mail"))
    assert rig.later() == [*WHOLE, "process", "process", "process", "commit"]
    at_us = 2 * 10**15
    back = {"was_parked": True, "failures": 0, "attempts": (), "polled_at_us": at_us}
    later = execution(rid, committed_at_us=at_us + 5_000_000, **back)
    rig.read(later)
    assert rig.later() == ["process", "commit"]
    ids = [span.span_id for span in rig.spans]
    assert len(set(ids)) == len(ids)


def test_a_batch_that_is_read_twice_makes_the_same_spans(tmp_path: Path) -> None:
    rid = fresh_id()
    rows = (reception(rid), execution(rid))
    spans = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        rig = Rig(tmp_path / name)
        rig.read(*rows)
        rig.later()
        spans.append(rig.spans)
    assert spans[0] == spans[1]


def test_a_request_of_our_own_fault_and_a_slow_one_have_a_trace(rig: Rig) -> None:
    refused = reception(fresh_id(), status=503, outcome="unavailable", events=0)
    slow = reception(fresh_id(), total_ns=6_000_000_000, publish_ns=5_900_000_000)
    rig.read(refused, slow, reception(fresh_id(), status=401, events=0), reception(fresh_id()))
    assert rig.later() == ["POST", "POST", "send"]
    assert rig.spans[0].failed


def test_more_in_a_second_than_allowed_is_counted_and_not_made(tmp_path: Path) -> None:
    rig = Rig(tmp_path, max_per_s=10)
    rig.read(*[execution(fresh_id()) for _ in range(25)])
    assert rig.sampler.counts.dropped == 15
    assert rig.later().count("commit") == 10
    rig.read(*[execution(fresh_id()) for _ in range(25)])
    assert rig.sampler.counts.dropped == 30


def test_what_waits_is_bounded(tmp_path: Path) -> None:
    rig = Rig(tmp_path, max_per_s=10 * MAX_WAITING)
    rows = [execution(fresh_id())] * (MAX_WAITING + 7)
    rig.sampler.follow(rows)
    assert rig.sampler.counts.dropped == 7


def test_a_stop_makes_what_waits(rig: Rig) -> None:
    rig.read(*[execution(fresh_id()) for _ in range(450)])
    rig.sampler.close()
    assert names(rig.spans).count("commit") == 450


def test_a_store_that_is_away_costs_no_trace(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rid = fresh_id()
    rig.read(reception(rid), execution(rid))

    def away(environment: str, request_id: bytes) -> RequestStory:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(rig.store, "request", away)
        with pytest.raises(StoreUnavailable):
            rig.later()
    assert rig.later(0) == WHOLE


def test_another_environments_request_is_another(rig: Rig) -> None:
    rid = fresh_id()
    rig.read(replace(reception(rid), environment="staging"))
    rig.read(execution(rid))
    rig.later()
    assert rig.sampler.counts.approximate == 1
