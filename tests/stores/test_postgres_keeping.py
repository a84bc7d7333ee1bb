"""What PostgreSQL keeps of hostile events, hands out once, and forgets without being held up."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import psycopg
import pytest

from consumer.stores import postgres, postgres_schema
from consumer.stores.contract import Claim, Letter, ParkedEvent, Partition
from consumer.stores.operations import Filter
from consumer.stores.postgres import PostgresStore
from consumer.stores.postgres_schema import days
from schemas.dead_letter import DeadLetter
from tests.parts.postgres import PostgresServer
from tests.stores.harness_postgres import PostgresHarness

pytestmark = pytest.mark.postgres

P0 = Partition("events", 0)
DAY_S = 86_400
NOW_S = 20_000 * DAY_S
NUL = "a\0b"


@pytest.fixture
def harness(postgres: PostgresServer) -> Iterator[PostgresHarness]:
    harness = PostgresHarness(postgres)
    yield harness
    harness.close()


@pytest.fixture
def store(harness: PostgresHarness) -> PostgresStore:
    store = harness.open()
    assert isinstance(store, PostgresStore)
    return store


@pytest.fixture
def claim(store: PostgresStore) -> Claim:
    return store.claim([P0])[0]


def bury(store: PostgresStore, claim: Claim, *letters: Letter) -> None:
    with store.commit() as commit:
        commit.bury(letters)
        commit.advance([claim], {P0: 100}, {}, NOW_S)


def park(store: PostgresStore, claim: Claim, *events: ParkedEvent) -> None:
    with store.commit() as commit:
        commit.park(events, 5)
        commit.advance([claim], {P0: 100}, {}, NOW_S)


def note(store: PostgresStore, claim: Claim, *days_on: int) -> None:
    for day in days_on:
        with store.commit() as commit:
            commit.remember([os.urandom(16)], NOW_S + day * DAY_S)
            commit.advance([claim], {P0: 100}, {}, NOW_S)


def undecodable(died_at_us: int = 1, reason: str = "undecodable", value: bytes = b"v") -> Letter:
    letter = DeadLetter(
        reason=reason, died_at_us=died_at_us, topic="events", partition=0, offset=7, key=b"k",
        value=value,
    )  # fmt: skip
    return Letter(dedupe_id=b"", letter=letter)


def test_what_postgresql_takes_for_no_text_is_buried_and_parked_all_the_same(
    store: PostgresStore, claim: Claim, harness: PostgresHarness
) -> None:
    letter = DeadLetter(
        reason=NUL, died_at_us=1, connection=NUL, topic="events", partition=0, offset=7,
        value=b"\0",
    )  # fmt: skip
    bury(
        store,
        claim,
        Letter(dedupe_id=b"i" * 16, letter=letter, event_type=NUL, resource_key=NUL),
    )
    event = ParkedEvent(
        partition=P0, key=b"k\0", offset=8, value=b"\0", traceparent=NUL, connection=NUL,
        event_type=NUL, reason=NUL,
    )  # fmt: skip
    park(store, claim, event)
    with harness.operations() as operations:
        (found,) = operations.letters(Filter(connection=NUL, event_type=NUL), 0, 9)
        assert (found.event_type, found.resource_key) == ("a\ufffdb", "a\ufffdb")
        assert found.letter == letter
        (parked,) = operations.parked_events(P0, b"k\0", 9)
        assert (parked.key, parked.value, parked.event_type) == (b"k\0", b"\0", "a\ufffdb")
        assert [key.key for key in operations.parked_keys(NUL, None, 9)] == [b"k\0"]


def test_a_key_that_no_index_takes_is_parked_and_paged_in_order(
    store: PostgresStore, claim: Claim, harness: PostgresHarness
) -> None:
    stem = os.urandom(4096)
    keys = sorted([stem, stem + b"1", stem + b"2", os.urandom(4096), b"short", b"", stem[:512]])
    events = [ParkedEvent(partition=P0, key=k, offset=n, value=b"") for n, k in enumerate(keys)]
    park(store, claim, *events)
    assert {key.key for key in store.claim([P0])[0].parked} == set(keys)
    with harness.operations() as operations:
        paged: list[bytes] = []
        after = None
        while page := operations.parked_keys("", after, 2):
            paged += [key.key for key in page]
            after = (P0, paged[-1])
        assert paged == keys
        assert operations.retry([(P0, stem)], 9) == 1
    claim = store.claim([P0])[0]
    with store.commit() as commit:
        assert [key.key for key in commit.touched([P0])] == [stem]
        assert [e.key for e in commit.parked(P0, stem, 9, 10**9)] == [stem]
        commit.postpone(P0, stem, 3, 77)
        commit.unpark([(P0, key, n) for n, key in enumerate(keys) if key != stem])
        commit.advance([claim], {P0: 101}, {}, NOW_S)
    assert [(k.key, k.attempts, k.retry_at_ms) for k in store.claim([P0])[0].parked] == [
        (stem, 3, 77)
    ]


def test_a_letter_without_an_id_is_buried_once_but_again_after_a_redrive(
    store: PostgresStore, claim: Claim, harness: PostgresHarness
) -> None:
    bury(store, claim, undecodable(died_at_us=1))
    # The answer to that commit was lost.
    bury(store, claim, undecodable(died_at_us=2))
    bury(store, claim, undecodable(reason="unknown_schema"), undecodable(value=b"made anew"))
    with harness.operations() as operations:
        letters = operations.letters(Filter(), 0, 9)
        assert [(x.letter.reason, x.letter.value) for x in letters] == [
            ("undecodable", b"v"), ("unknown_schema", b"v"), ("undecodable", b"made anew"),
        ]  # fmt: skip
        operations.redrive([letters[0].number], 5)
        assert operations.count(Filter()) == 2
        bury(store, claim, undecodable(died_at_us=3))
        assert operations.count(Filter()) == 3


def test_a_letter_is_one_replicas_until_its_lease_is_over(
    store: PostgresStore, claim: Claim, harness: PostgresHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = PostgresStore(harness.url, "orders")
    bury(store, claim, *[undecodable(reason=str(n)) for n in range(4)])
    first, second = store.outgoing(2), other.outgoing(9)
    assert [x.letter.reason for x in first] == ["0", "1"]
    assert [x.letter.reason for x in second] == ["2", "3"]
    assert store.outgoing(9) == other.outgoing(9) == []
    store.sent([first[0].number])
    # The others' owner is gone.
    with psycopg.connect(harness.url, autocommit=True) as connection:
        connection.execute(
            "UPDATE hookline.dead_letters SET leased_until = leased_until - interval '61 s'"
        )
    monkeypatch.setattr(postgres, "_LEASE_S", 0)
    for _ in range(2):
        assert [x.letter.reason for x in store.outgoing(9)] == ["1", "2", "3"]
    other.close()


def test_expiry_gives_up_beside_a_hanging_transaction_and_nothing_waits_for_it(
    store: PostgresStore, claim: Claim, harness: PostgresHarness
) -> None:
    note(store, claim, 0, 5)
    bury(store, claim, undecodable())
    with psycopg.connect(harness.url) as hanging:
        hanging.execute(f"SELECT count(*) FROM hookline.seen_{store._group}")
        for _ in range(2):
            began_s = time.monotonic()
            assert store.expire(NOW_S + 4 * DAY_S, 100) == 0
            assert time.monotonic() - began_s < 10
        began_s = time.monotonic()
        assert len(store.outgoing(9)) == 1
        note(store, claim, 5)
        assert time.monotonic() - began_s < 2
    while store.expire(NOW_S + 4 * DAY_S, 100):
        pass
    assert table_days(harness, store) == ([20_005, 20_006], [20_005, 20_006])


def test_a_day_that_was_taken_out_and_not_dropped_is_dropped_later(
    store: PostgresStore, claim: Claim, harness: PostgresHarness
) -> None:
    note(store, claim, 0, 1, 5)
    other = PostgresStore(harness.url, "billing")
    note(other, other.claim([P0])[0], 0)
    with psycopg.connect(harness.url, autocommit=True) as connection:
        for group, day in ((store._group, 20_000), (store._group, 20_005), (other._group, 20_000)):
            # A crash between the two steps of a drop; day 20,005 is not old enough.
            connection.execute(
                f"ALTER TABLE hookline.seen_{group} DETACH PARTITION"
                f" hookline.seen_{group}_{day} CONCURRENTLY"
            )
    assert store.expire(NOW_S + 2 * DAY_S, 100) == 2
    assert table_days(harness, store) == ([20_006], [20_005, 20_006])
    # A day that was taken out is not written to beside the others.
    again = PostgresStore(harness.url, "orders")
    note(again, again.claim([P0])[0], 5)
    again.close()
    assert table_days(harness, store) == ([20_005, 20_006], [20_005, 20_006])
    with psycopg.connect(harness.url) as connection:
        assert postgres_schema.left_over(connection, other._group) == [20_000]
    other.close()


def test_tomorrows_table_is_there_before_midnight(
    store: PostgresStore, claim: Claim, harness: PostgresHarness
) -> None:
    assert store.expire(NOW_S - DAY_S, 100) == 0
    assert table_days(harness, store) == ([], [])
    note(store, claim, 0)
    assert store.expire(NOW_S - DAY_S, 100) == 0
    assert table_days(harness, store)[0] == [20_000, 20_001]


def table_days(harness: PostgresHarness, store: PostgresStore) -> tuple[list[int], list[int]]:
    """The days of the group that are looked up, and those that have a table."""
    with psycopg.connect(harness.url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ %s",
            (f"^seen_{store._group}_[0-9]+$",),
        ).fetchall()
        attached = [day for day, _ in days(connection, store._group)]
    return attached, sorted(int(name.rpartition("_")[2]) for (name,) in rows)


def test_ids_are_looked_up_in_the_index_however_young_a_days_table_is(
    store: PostgresStore, claim: Claim, harness: PostgresHarness
) -> None:
    note(store, claim, 0, 1)
    with psycopg.connect(harness.url, autocommit=True) as connection:
        for day in (20_000, 20_001):
            connection.execute(f"ALTER TABLE hookline.seen_{store._group}_{day} SET"
                               " (autovacuum_enabled = false)")  # fmt: skip
            connection.execute(
                f"INSERT INTO hookline.seen_{store._group}_{day}"
                f" SELECT {day}, gen_random_uuid() FROM generate_series(1, 20000)"
            )
        ids = [os.urandom(16) for _ in range(1000)]
        for _ in range(8):
            with store.commit() as commit:
                commit.seen(ids)
                assert commit.handle.execute("SHOW plan_cache_mode").fetchone() == ("auto",)
        store.close()
        time.sleep(1)
        row = connection.execute(
            "SELECT sum(seq_tup_read), sum(idx_scan) FROM pg_stat_user_tables"
            " WHERE relname ~ '^seen_'"
        ).fetchone()
    assert row is not None
    assert row[0] == 0
    assert row[1] >= 8 * 2000
