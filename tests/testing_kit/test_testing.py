"""hookline.testing: it passes handlers that are right, and catches the classic mistakes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from examples.orders import handlers as orders
from hookline import Event, Handlers, PermanentError, Transaction
from hookline.testing import (
    ScheduleMatters,
    Shake,
    check,
    event,
    load_events,
    run,
    samples,
    save_events,
    webhook,
    webhooks,
)
from schemas.errors import ConfigurationError
from tests.providers.http_request import ORDER_OPTIONS, PAYLOADS, TICKET_OPTIONS

TOTALS = "CREATE TABLE totals (id TEXT PRIMARY KEY, n INT NOT NULL)"
ADD = "INSERT INTO totals VALUES (?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n"
STATES = "CREATE TABLE states (id TEXT PRIMARY KEY, state TEXT)"
SET = "INSERT INTO states VALUES (?, ?) ON CONFLICT DO UPDATE SET state = excluded.state"


def counting(count: int = 12, resources: int = 3) -> list[Event]:
    return [
        event("test.thing.changed", {"n": n}, str(n % resources), event_id=f"e{n}", version=n)
        for n in range(count)
    ]


def registry(function: Callable[..., Any], **options: Any) -> Handlers:
    handlers = Handlers()
    handlers.on("test.thing.*", **options)(function)
    return handlers


def add(event: Event, tx: Transaction) -> None:
    tx.execute(ADD, (event.resource_id, event.json()["n"]))


def set_state(event: Event, tx: Transaction) -> None:
    tx.execute(SET, (event.resource_id, str(event.json()["n"])))


def test_a_run_reports_outcomes_calls_and_tables() -> None:
    events = counting(3)
    done = run(registry(add), [*events, events[0]], setup=TOTALS)
    assert dict(done.outcomes) == {"applied": 3, "duplicate": 1}
    assert done.of(events[0]) == ["applied", "duplicate"]
    assert done.rows("SELECT id, n FROM totals ORDER BY id") == [("0", 0), ("1", 1), ("2", 2)]
    assert done.tables == {"totals": [("0", 0), ("1", 1), ("2", 2)]}
    assert [call.events[0].event_id for call in done.calls] == ["e0", "e1", "e2"]
    assert done.external_calls == []
    assert done.errors == []


def test_a_right_handler_ends_the_same_under_every_schedule() -> None:
    reference = check(registry(add), counting(), setup=TOTALS, seeds=300)
    assert reference.tables == {"totals": [("0", 18), ("1", 22), ("2", 26)]}


def test_the_first_example_ends_the_same_under_every_schedule() -> None:
    check(orders, samples("hmac", 12), seeds=100)


def test_a_batch_handler_ends_the_same_under_every_schedule() -> None:
    handlers = Handlers()

    @handlers.batch("test.thing.*", max_size=5)
    def add_all(events: list[Event], tx: Transaction) -> None:
        tx.executemany(ADD, [(each.resource_id, each.json()["n"]) for each in events])

    check(handlers, counting(), setup=TOTALS, seeds=100)


def test_an_async_handler_with_a_transaction_is_run_too() -> None:
    async def add_async(event: Event, tx: Transaction) -> None:
        await asyncio.sleep(0)
        add(event, tx)

    check(registry(add_async), counting(), setup=TOTALS, seeds=60)


def test_what_is_kept_outside_the_transaction_is_caught_and_its_seed_replays_it() -> None:
    totals: dict[str, int] = {}

    def remember_in_memory(event: Event, tx: Transaction) -> None:
        totals[event.resource_id] = totals.get(event.resource_id, 0) + event.json()["n"]
        tx.execute(SET, (event.resource_id, str(totals[event.resource_id])))

    def fresh() -> Handlers:
        totals.clear()
        return registry(remember_in_memory)

    with pytest.raises(ScheduleMatters, match=r"table states") as caught:
        check(fresh, counting(), setup=STATES)
    seed = caught.value.seed
    assert f"check(…, seed={seed})" in str(caught.value)
    assert "crashed at step" in str(caught.value)
    with pytest.raises(ScheduleMatters) as again:
        check(fresh, counting(), setup=STATES, seed=seed)
    assert str(again.value) == str(caught.value)


def test_a_row_that_several_resources_write_is_caught() -> None:
    def newest_of_all(event: Event, tx: Transaction) -> None:
        tx.execute(SET, ("newest", event.event_id))

    with pytest.raises(ScheduleMatters, match="newest"):
        check(registry(newest_of_all), counting(), setup=STATES)


def test_a_seen_table_of_ones_own_that_is_checked_in_memory_is_caught() -> None:
    seen: set[str] = set()

    def deduplicate(event: Event, tx: Transaction) -> None:
        if event.event_id not in seen:
            seen.add(event.event_id)
            add(event, tx)

    with pytest.raises(ScheduleMatters):
        check(lambda: registry(deduplicate), counting(), setup=TOTALS)


def test_a_race_between_external_handlers_is_caught() -> None:
    total = {"n": 0}

    async def read_then_write(event: Event) -> None:
        before = total["n"]
        await asyncio.sleep(0)
        total["n"] = before + event.json()["n"]

    async def at_once(event: Event) -> None:
        total["n"] += event.json()["n"]
        await asyncio.sleep(0)

    def fresh(function: Any) -> Callable[[], Handlers]:
        def make() -> Handlers:
            total["n"] = 0
            return registry(function)

        return make

    calm = Shake(crashes=False, failures=False)
    check(fresh(at_once), counting(), shake=calm, state=lambda _: total["n"], seeds=60)
    with pytest.raises(ScheduleMatters):
        check(fresh(read_then_write), counting(), shake=calm, state=lambda _: total["n"])


def test_an_external_handler_is_called_again_after_a_crash_with_the_same_key() -> None:
    sent: list[str] = []

    async def send(event: Event) -> None:
        sent.append(event.idempotency_key)

    events = counting(4)
    # What a receiver that honours the key sees is the same; a receiver that does not, sees two.
    check(registry(send), events, seeds=200)
    assert len(sent) > len(set(sent))
    assert set(sent) == {each.idempotency_key for each in events}


def test_an_external_effect_without_a_key_is_caught() -> None:
    sent: list[str] = []

    def fresh() -> Handlers:
        return registry(lambda event: sent.append(event.event_id))

    def state(_: object) -> list[str]:
        found, sent[:] = sorted(sent), []
        return found

    with pytest.raises(ScheduleMatters, match="crashed at step"):
        check(fresh, counting(4), state=state)


def test_order_within_a_resource_is_kept_unless_stale_events_are_asked_for() -> None:
    check(registry(set_state), counting(), setup=STATES, seeds=100)
    overtaking = Shake(stale=True)
    with pytest.raises(ScheduleMatters, match="overtook"):
        check(registry(set_state), counting(), setup=STATES, shake=overtaking)
    skipping = registry(set_state, stale="skip")
    check(skipping, counting(), setup=STATES, shake=overtaking, seeds=100)
    shaken = [run(skipping, counting(), setup=STATES, seed=n, shake=overtaking) for n in range(9)]
    assert sum(report.outcomes["stale"] for report in shaken) > 0


def test_an_event_that_keeps_failing_is_parked_and_the_rest_of_its_resource_waits() -> None:
    def fail_on_one(event: Event, tx: Transaction) -> None:
        if event.event_id == "e1":
            raise RuntimeError("no such customer")
        add(event, tx)

    events = counting(6)
    done = run(registry(fail_on_one), events, setup=TOTALS)
    assert done.of(events[1]) == ["parked", "dead_lettered"]
    assert done.of(events[4]) == ["parked", "applied"]
    assert [letter.reason for letter in done.dead_letters] == ["parked_exhausted"]
    assert {str(error) for error in done.errors} == {"no such customer"}
    assert done.retries > 5
    with pytest.raises(AssertionError, match="RuntimeError: no such customer"):
        check(registry(fail_on_one), events, setup=TOTALS, seeds=1)


def test_a_permanent_error_is_an_end_that_a_check_accepts() -> None:
    def refuse_one(event: Event, tx: Transaction) -> None:
        if event.event_id == "e1":
            raise PermanentError("not ours")
        add(event, tx)

    reference = check(registry(refuse_one), counting(6), setup=TOTALS, seeds=60)
    assert reference.outcomes == {"applied": 5, "dead_lettered": 1}


def test_a_handler_that_catches_everything_does_not_outlive_a_crash() -> None:
    def stubborn(event: Event, tx: Transaction) -> None:
        with suppress(BaseException):
            add(event, tx)

    check(registry(stubborn), counting(), setup=TOTALS, shake=Shake(failures=False), seeds=150)
    # It does swallow a statement that failed: its effect is lost.
    with pytest.raises(ScheduleMatters, match="INSERT failed"):
        check(registry(stubborn), counting(), setup=TOTALS)


def test_a_check_that_could_prove_nothing_fails() -> None:
    with pytest.raises(AssertionError, match="no handler took any"):
        check(registry(add), [event("other.thing.changed", {})])


def test_a_seed_gives_the_same_run_each_time() -> None:
    events = counting()
    runs = [run(registry(add), events, setup=TOTALS, seed=7) for _ in range(2)]
    assert runs[0].story == runs[1].story != []
    assert [d.event.event_id for d in runs[0].deliveries] == [
        d.event.event_id for d in runs[1].deliveries
    ]
    assert runs[0].outcomes["duplicate"] > 0


# A handshake is no event.
BODIES = sorted(p for p in PAYLOADS.glob("*/*.*") if p.stem != "url_verification")


@pytest.mark.parametrize("path", BODIES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_every_example_payload_becomes_the_gateways_events(path: Path) -> None:
    options = {"hmac-order": ORDER_OPTIONS, "hmac-ticket": TICKET_OPTIONS}.get(
        f"{path.parent.name}-{path.stem.split('.')[0]}"
    )
    made = webhooks(path.parent.name, path, event_type=path.stem.split(".")[0], options=options)
    assert all(one.event_type.startswith(f"{path.parent.name}.") for one in made)
    assert all(one.resource_id for one in made)
    # Of these, each event has what the system would have sent for it alone.
    if path.parent.name not in ("meta", "microsoft_graph") and len(made) == 1:
        assert made[0].payload.strip(b"[]\n") == path.read_bytes().strip(b"[]\n ")


def test_a_body_of_several_events_is_told_to_whom_asks_for_one() -> None:
    path = PAYLOADS / "microsoft_graph" / "three_notifications.json"
    with pytest.raises(ConfigurationError, match="holds 3 events"):
        webhook("microsoft_graph", path)


def test_samples_are_the_same_for_a_seed_and_unknown_providers_are_told() -> None:
    once, again = samples("github", 5, seed=2), samples("github", 5, seed=2)
    assert [e.event_id for e in once] == [e.event_id for e in again]
    assert all(e.event_type.startswith("github.issues.") for e in once)
    with pytest.raises(ConfigurationError, match="no provider"):
        webhook("nobody", b"{}")
    with pytest.raises(ConfigurationError, match="finds no identity"):
        webhook("standard_webhooks", b"[]")


def test_recorded_events_are_read_as_they_were_saved(tmp_path: Path) -> None:
    path = tmp_path / "recorded.jsonl"
    events = [*samples("github", 3), event("test.raw.bytes", b"\xff\x00", version=3)]
    save_events(path, events)
    assert load_events(path) == events
    path.write_text('{"event_type": "test.thing.changed", "payload": {"n": 1}, "version": 4}\n\n')
    (read,) = load_events(path)
    assert (read.json(), read.resource_version, read.provider) == ({"n": 1}, 4, "test")


@pytest.mark.parametrize("line", ["{", "[]", '{"payload": {}}', '{"event_type": "a", "x": 1}'])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "recorded.jsonl"
    path.write_text(f'{{"event_type": "a.b"}}\n{line}\n')
    with pytest.raises(ConfigurationError, match=r"recorded\.jsonl, line 2"):
        load_events(path)
