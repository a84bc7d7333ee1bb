"""What only the PostgreSQL store has: replicas, its pipeline, lost connections, days, errors."""

# ruff: noqa: PT012, SIM117 - the whole transaction is what raises
from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from consumer.stores import postgres_schema
from consumer.stores.contract import Partition
from consumer.stores.postgres import PostgresStore
from consumer.stores.postgres_link import Link
from consumer.stores.postgres_operations import PostgresOperations
from consumer.stores.postgres_schema import STEPS, days, prepare
from schemas.errors import (
    ConfigurationError,
    Fenced,
    HandlerError,
    StatementFailed,
    StoreUnavailable,
    TransactionEnded,
)
from tests.parts.postgres import PostgresServer
from tests.stores.harness_postgres import PostgresHarness

pytestmark = pytest.mark.postgres

P0, P1 = Partition("events", 0), Partition("events", 1)
DAY_S = 86_400
NOW_S = 20_000 * DAY_S


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


def test_a_failed_statement_is_found_at_the_end_and_told_apart_by_a_careful_one(
    store: PostgresStore, harness: PostgresHarness
) -> None:
    claim = store.claim([P0])[0]

    def batch(careful: bool) -> list[str]:
        failed = []
        with store.commit(careful=careful) as commit:
            for what in ("one", "two", "three"):
                commit.savepoint()
                try:
                    harness.effect(commit, what)
                    if what == "two":
                        commit.handle.execute("INSERT INTO nowhere VALUES (1)")
                except psycopg.Error:
                    failed.append(what)
                    commit.take_back()
                else:
                    commit.keep()
            commit.advance([claim], {P0: 3}, {}, NOW_S)
        return failed

    with pytest.raises(StatementFailed, match="UndefinedTable"):
        batch(careful=False)
    assert harness.effects() == []
    assert batch(careful=True) == ["two"]
    assert harness.effects() == ["one", "three"]


def test_a_handler_that_swallows_a_failed_statement_is_told_so(
    store: PostgresStore, harness: PostgresHarness
) -> None:
    with store.commit(careful=True) as commit:
        commit.savepoint()
        with pytest.raises(psycopg.Error):
            commit.handle.execute("INSERT INTO nowhere VALUES (1)")
        with pytest.raises(HandlerError, match="went on as if it had not"):
            commit.keep()
        commit.take_back()
        harness.effect(commit, "after")
    assert harness.effects() == ["after"]


@pytest.mark.parametrize("statement", ["COMMIT", " rollback", "-- x\nABORT", "SAVEPOINT s"])
def test_a_handler_cannot_end_the_transaction(
    store: PostgresStore, harness: PostgresHarness, statement: str
) -> None:
    with pytest.raises(TransactionEnded, match="may not run"), store.commit() as commit:
        harness.effect(commit, "x")
        commit.handle.execute(statement)
    assert harness.effects() == []


def test_a_handler_reads_what_it_wrote_and_counts_rows(
    store: PostgresStore, harness: PostgresHarness
) -> None:
    with store.commit() as commit:
        commit.handle.executemany("INSERT INTO effects (what) VALUES (%s)", [("a",), ("b",)])
        changed = commit.handle.execute("UPDATE effects SET what = what || '!'")
        assert changed.rowcount == 2
        found = commit.handle.execute("SELECT what FROM effects ORDER BY n")
        assert found.fetchone() == ("a!",)
        assert found.fetchall() == [("b!",)]
        assert commit.handle.execute("SELECT '100%'").fetchone() == ("100%",)


def test_replicas_fence_each_other_and_a_zombie_keeps_nobody_waiting(
    store: PostgresStore, harness: PostgresHarness
) -> None:
    other = PostgresStore(harness.url, "orders")
    ours = store.claim([P0], "one")[0]
    with pytest.raises(Fenced, match=r"events\[0\] has another owner now \(ours was epoch 1\)"):
        with store.commit() as commit:
            harness.effect(commit, "zombie")
            commit.remember([b"a" * 16], NOW_S)
            began_s = time.monotonic()
            # While the zombie's transaction is open: the claim does not wait for it.
            theirs = other.claim([P0], "two")[0]
            assert time.monotonic() - began_s < 2
            commit.advance([ours], {P0: 1}, {}, NOW_S)
    with other.commit() as commit:
        assert commit.owned([ours]) == set()
        assert commit.owned([theirs]) == {P0}
        assert commit.owner(P0) == "two"
        assert commit.seen([b"a" * 16]) == set()
        harness.effect(commit, "owner")
        commit.advance([theirs], {P0: 1}, {}, NOW_S)
    assert harness.effects() == ["owner"]
    other.close()


def test_a_restart_of_the_server_heals_by_itself(postgres: PostgresServer) -> None:
    harness = PostgresHarness(postgres)
    store = harness.open()
    claim = store.claim([P0])[0]
    with pytest.raises(StoreUnavailable, match="events wait in Kafka"):
        with store.commit() as commit:
            harness.effect(commit, "lost")
            postgres.kill()
            harness.effect(commit, "lost, too")
            commit.advance([claim], {P0: 1}, {}, NOW_S)
    with pytest.raises(StoreUnavailable), store.commit() as commit:
        pass
    with pytest.raises(StoreUnavailable):
        store.claim([P0])
    postgres.start()
    with store.commit() as commit:
        assert commit.owned([claim]) == {P0}
        harness.effect(commit, "kept")
        commit.advance([claim], {P0: 1}, {}, NOW_S)
    assert harness.effects() == ["kept"]
    assert store.claim([P0])[0].next_offset == 1
    harness.close()


def test_a_lost_connections_transaction_is_ended_before_anything_is_looked_up_again(
    store: PostgresStore, harness: PostgresHarness, postgres: PostgresServer
) -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'hookline-%'"
    connection = store._link.connection()
    before = postgres.query(count, harness.url)
    connection.execute("BEGIN")
    connection.execute("INSERT INTO effects (what) VALUES ('late')")
    # What a network does: the server does not learn that we are gone.
    lost = store._link._connection
    store._link._connection, store._link._lost = None, True
    with store.commit() as commit:
        assert commit.handle.execute("SELECT count(*) FROM effects").fetchone() == (0,)
    assert postgres.query(count, harness.url) == before
    with pytest.raises(psycopg.Error):
        connection.execute("COMMIT")
    assert lost is connection
    assert harness.effects() == []


def test_days_are_dropped_while_another_commits_and_two_may_drop_at_once(
    store: PostgresStore, harness: PostgresHarness
) -> None:
    claim = store.claim([P0])[0]
    for day in range(6):
        with store.commit() as commit:
            commit.remember([bytes([day]) * 16], NOW_S + day * DAY_S)
            commit.advance([claim], {P0: day}, {}, NOW_S)
    other = PostgresStore(harness.url, "orders")
    failures: list[BaseException] = []

    def expire(of: PostgresStore) -> None:
        try:
            while of.expire(NOW_S + 4 * DAY_S, 100):
                pass
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=expire, args=(s,)) for s in (store, other)]
    for thread in threads:
        thread.start()
    slowest_s = 0.0
    for n in range(50):
        began_s = time.monotonic()
        with store.commit() as commit:
            commit.seen([b"x" * 16])
            commit.remember([n.to_bytes(16, "big")], NOW_S + 5 * DAY_S)
            commit.advance([claim], {P0: 10 + n}, {}, NOW_S)
        slowest_s = max(slowest_s, time.monotonic() - began_s)
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert slowest_s < 5
    with psycopg.connect(harness.url, autocommit=True) as connection:
        assert [day for day, _ in days(connection, store._group)] == [
            20_004,
            20_005,
            20_006,
        ]
    other.close()


def test_an_interrupted_drop_of_a_day_is_finished_the_next_time(
    store: PostgresStore, harness: PostgresHarness
) -> None:
    claim = store.claim([P0])[0]
    with store.commit() as commit:
        commit.remember([b"a" * 16], NOW_S)
        commit.advance([claim], {P0: 1}, {}, NOW_S)
    with (
        psycopg.connect(harness.url) as reader,
        psycopg.connect(harness.url, autocommit=True) as dropper,
    ):
        # Somebody reads the day, so that the drop has to wait, and is then cut off.
        reader.execute(f"SELECT * FROM hookline.seen_{store._group}")
        dropper.execute("SET statement_timeout = '300ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            postgres_schema.drop_day(dropper, store._group, 20_000, False)
        assert days(dropper, store._group) == [(20_000, True)]
    assert store.expire(NOW_S, 100) == 1
    with psycopg.connect(harness.url) as connection:
        assert [day for day, _ in days(connection, store._group)] == [20_001]


def test_two_replicas_may_start_at_once_on_an_empty_database(postgres: PostgresServer) -> None:
    postgres.query("CREATE DATABASE empty_at_first")
    url = postgres.dsn.rpartition("/")[0] + "/empty_at_first"
    opened: list[PostgresStore] = []
    threads = [
        threading.Thread(target=lambda: opened.append(PostgresStore(url, "g"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len({store._group for store in opened}) == 1
    assert len(opened) == 4
    for store in opened:
        store.close()
    postgres.query("DROP DATABASE empty_at_first WITH (FORCE)")


def test_groups_on_one_database_do_not_see_each_other(
    store: PostgresStore, harness: PostgresHarness
) -> None:
    billing = PostgresStore(harness.url, "billing")
    claim = store.claim([P0])[0]
    assert billing.claim([P0])[0].epoch == 1
    with store.commit() as commit:
        commit.remember([b"a" * 16], NOW_S)
        commit.advance([claim], {P0: 9}, {}, NOW_S)
    with billing.commit() as commit:
        assert commit.seen([b"a" * 16]) == set()
    assert billing.claim([P0])[0].next_offset is None
    billing.close()


def test_an_older_schema_is_upgraded_and_a_newer_one_left_alone(
    store: PostgresStore, harness: PostgresHarness
) -> None:
    steps = (*STEPS, "CREATE TABLE hookline.added (n integer)")
    with psycopg.connect(harness.url, autocommit=True) as connection:
        assert prepare(connection, "orders", steps) == (len(STEPS) + 1, store._group)
        assert connection.execute("SELECT count(*) FROM hookline.added").fetchone() == (0,)
    with pytest.raises(StoreUnavailable, match=f"version {len(STEPS) + 1}"):
        PostgresStore(harness.url, "orders")
    with pytest.raises(StoreUnavailable, match="no tables of this version"):
        PostgresOperations(harness.url, "orders")


def everything_said(error: BaseException | None) -> str:
    """An error's text and those of all that it hangs on, shown or not."""
    said = []
    while error is not None:
        said += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    return "\n".join(said)


@pytest.mark.parametrize(
    ("url", "what", "advice"),
    [
        ("postgresql://me:CANARY@127.0.0.1:1/nowhere", "Connection refused", "is it running"),
        ("postgresql://hookline:CANARY@127.0.0.1:{port}/nowhere",
         'database "nowhere" does not exist', "create the database"),
        ("postgresql://nobody:CANARY@127.0.0.1:{port}/postgres",
         'role "nobody" does not exist', "create the role"),
        ("postgresql://CANARY:CANARY@127.0.0.1:{port}/postgres", "not exist", "create the role"),
        ("postgresql://me:CANARY@host.invalid/x", "resolve host", "correct the host"),
        ("postgresql://me:CANARY@127.0.0.1:{port}/postgres?sslmode=require", "SSL", "sslmode"),
    ],
)  # fmt: skip
def test_a_refused_connection_says_why_and_never_the_password(
    postgres: PostgresServer, url: str, what: str, advice: str
) -> None:
    url = url.format(port=postgres.port).replace("CANARY", "canary%2Fp4ss")
    for opening in (PostgresStore, PostgresOperations):
        with pytest.raises(StoreUnavailable) as raised:
            opening(url, "g")
        assert what in str(raised.value)
        assert advice in str(raised.value)
        assert "canary" not in everything_said(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:canary@[bad",
        "postgresql://me:%zzcanary@host/db",
        "postgresql://me:p@canary@host/db",
        "postgresql://me:12/canary@host/db",
        "postgresql://me:canary/p4ss@host/db",
        "postgresql://me:p4ss@host/db?canary=1",
    ],
)
def test_what_is_no_url_is_said_so_without_quoting_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="PostgreSQL URL") as raised:
        PostgresStore(url, "g")
    assert "canary" not in everything_said(raised.value)


def test_a_password_that_the_server_repeats_is_blotted_out() -> None:
    link = Link("postgresql://me:canary%2Fp4ss@127.0.0.1:1/x")
    error = psycopg.OperationalError('cannot use "canary/p4ss" or canary%2Fp4ss')
    assert 'cannot use "**********" or **********' in str(link.unavailable(error))


def test_a_database_of_another_encoding_is_refused_at_the_start(postgres: PostgresServer) -> None:
    postgres.query("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(StoreUnavailable, match="encoding LATIN1"):
        PostgresStore(postgres.dsn.rpartition("/")[0] + "/latin", "g")
    postgres.query("DROP DATABASE latin")
