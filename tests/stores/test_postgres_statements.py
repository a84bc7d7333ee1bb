"""Handlers' statements in PostgreSQL: held, together, careful, and whose failure one is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import psycopg
import pytest

from consumer.stores.contract import Claim, GroupCommit, Partition
from consumer.stores.postgres import PostgresStore
from consumer.stores.postgres_sender import Sender
from consumer.stores.transaction import Transaction
from schemas.errors import (
    HandlerError,
    StatementFailed,
    StoreError,
    StoreUnavailable,
    TransactionEnded,
)
from tests.parts.postgres import PostgresServer
from tests.stores.harness_postgres import PostgresHarness

pytestmark = pytest.mark.postgres

P0 = Partition("events", 0)
NOW_S = 20_000 * 86_400
Handle = Callable[[Transaction], object]
INSERT = "INSERT INTO effects (what) VALUES (%s)"
BAD = "INSERT INTO effects (n) SELECT 'x'::text::int"


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


def put(what: str) -> Handle:
    return lambda tx: tx.execute(INSERT, (what,))


def run(sql: str) -> Handle:
    return lambda tx: tx.execute(sql)


def one_by_one(commit: GroupCommit, handlers: Sequence[Handle]) -> dict[int, BaseException]:
    """Calls handlers as the engine does; the errors by place."""
    failed: dict[int, BaseException] = {}
    for at, handler in enumerate(handlers):
        commit.savepoint()
        try:
            handler(commit.handle)
        except StoreError:
            raise
        except BaseException as error:
            commit.take_back()
            failed[at] = error
        else:
            try:
                commit.keep()
            except TransactionEnded:
                raise
            except HandlerError as error:
                commit.take_back()
                failed[at] = error
    return failed


def apply(
    store: PostgresStore, claim: Claim, handlers: Sequence[Handle], *, careful: bool = False
) -> dict[int, BaseException]:
    """One batch, with the progress."""
    with store.commit(careful=careful) as commit:
        failed = one_by_one(commit, handlers)
        commit.advance([claim], {P0: 7}, {}, NOW_S)
    return failed


def test_a_long_batch_that_failed_leaves_nothing_behind_in_the_connection(
    store: PostgresStore, harness: PostgresHarness, claim: Claim
) -> None:
    few = [put("x"), run(BAD), put("y")]
    more = [put("x"), run(BAD), *[put("y")] * 28]
    for _ in range(5):
        again = PostgresStore(harness.url, "orders")
        with pytest.raises(StatementFailed):
            apply(again, claim, few)
        assert list(apply(again, claim, few, careful=True)) == [1]
        many: list[Handle] = [put("a"), run(BAD), *[put("b")] * 2998]
        with pytest.raises(StatementFailed):
            apply(again, claim, many)
        for _ in range(2):
            assert list(apply(again, claim, more, careful=True)) == [1]
        assert apply(again, claim, [put("z")] * 20) == {}
        again.close()
    assert len(harness.effects()) == 5 * (2 + 2 * 29 + 20)


def test_a_failure_among_statements_that_are_looked_at_leaves_nothing_behind(
    store: PostgresStore, harness: PostgresHarness, claim: Claim
) -> None:
    def read_and_put(tx: Transaction) -> None:
        tx.execute("SELECT count(*) FROM effects")
        assert tx.execute(INSERT, ("x",)).rowcount == 1

    with pytest.raises(StatementFailed):
        apply(store, claim, [*[read_and_put] * 10, run(BAD), *[read_and_put] * 10])
    assert harness.effects() == []
    assert list(apply(store, claim, [read_and_put, run(BAD), read_and_put], careful=True)) == [1]
    assert apply(store, claim, [read_and_put] * 10) == {}


@pytest.mark.parametrize("careful", [False, True])
def test_two_statements_in_one_string_are_refused(
    store: PostgresStore, harness: PostgresHarness, claim: Claim, careful: bool
) -> None:
    sneaky = run("INSERT INTO effects (what) VALUES ('sneaked'); COMMIT")
    if careful:
        failed = apply(store, claim, [put("one"), sneaky, put("two")], careful=True)
        assert isinstance(failed[1], psycopg.errors.SyntaxError)
        assert harness.effects() == ["one", "two"]
    else:
        with pytest.raises(StatementFailed):
            apply(store, claim, [put("one"), sneaky, put("two")])
        assert harness.effects() == []
        assert store.claim([P0])[0].next_offset is None


@pytest.mark.parametrize(
    "sql",
    [
        "/* /* */ */ COMMIT",
        "-- x\rCOMMIT",
        "; /* a /* b */ */ ;commit",
        "PREPARE/**/TRANSACTION 'x'",
        # In a pipeline psycopg and the server lose each other over it.
        "COPY effects (what) FROM STDIN",
    ],
)
@pytest.mark.parametrize("careful", [False, True])
def test_what_would_end_the_transaction_is_refused_however_it_is_written(
    store: PostgresStore, harness: PostgresHarness, claim: Claim, sql: str, careful: bool
) -> None:
    failed = apply(store, claim, [put("one"), run(sql), put("two")], careful=careful)
    assert isinstance(failed[1], TransactionEnded)
    assert harness.effects() == ["one", "two"]


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("INSERT INTO keys SELECT string_agg(md5(g::text), '') FROM generate_series(1, 3000) g",
         psycopg.errors.ProgramLimitExceeded),
        ("DO $$ BEGIN RAISE query_canceled; END $$", psycopg.errors.QueryCanceled),
        ("DO $$ BEGIN RAISE lock_not_available; END $$", psycopg.errors.LockNotAvailable),
    ],
)  # fmt: skip
def test_an_operational_error_of_a_statement_is_that_events_failure(
    store: PostgresStore, harness: PostgresHarness, claim: Claim, sql: str, error: type[Exception]
) -> None:
    apply(store, claim, [run("CREATE TABLE keys (t text PRIMARY KEY)")])
    with pytest.raises(StatementFailed):
        apply(store, claim, [put("one"), run(sql), put("two")])
    failed = apply(store, claim, [put("one"), run(sql), put("two")], careful=True)
    assert {at: type(e) for at, e in failed.items()} == {1: error}
    assert harness.effects() == ["one", "two"]


@pytest.mark.parametrize("code", ["08006", "40P01", "53100", "57P01", "58030", "25006"])
@pytest.mark.parametrize("careful", [False, True])
def test_an_error_of_the_database_is_nobodys_failure(
    store: PostgresStore, harness: PostgresHarness, claim: Claim, code: str, careful: bool
) -> None:
    sql = f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$"
    with pytest.raises(StoreUnavailable):
        apply(store, claim, [put("one"), run(sql)], careful=careful)
    assert harness.effects() == []


def test_a_deferred_constraint_is_the_failure_of_the_event_that_breaks_it(
    store: PostgresStore, harness: PostgresHarness, claim: Claim
) -> None:
    apply(store, claim, [
        run("CREATE TABLE parents (a int PRIMARY KEY)"),
        run("CREATE TABLE children (a int REFERENCES parents DEFERRABLE INITIALLY DEFERRED)"),
    ])  # fmt: skip

    def child_first(tx: Transaction) -> None:
        tx.execute("INSERT INTO children VALUES (1)")
        tx.execute("INSERT INTO parents VALUES (1)")

    batch = [put("one"), run("INSERT INTO children VALUES (77)"), child_first, put("two")]
    with pytest.raises(StatementFailed):
        apply(store, claim, batch)
    failed = apply(store, claim, batch, careful=True)
    assert list(failed) == [1]
    assert "children_a_fkey" in str(failed[1])
    assert harness.effects() == ["one", "two"]


def test_a_savepoint_is_sent_only_for_a_handler_that_looks(
    store: PostgresStore, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    run_one, run_blindly = Sender.run, Sender.run_blindly

    def one(self: Sender, sql: str, *more: object, **named: object) -> object:
        sent.append(sql)
        return run_one(self, sql, *more, **named)  # type: ignore[arg-type]

    def blindly(self: Sender, sql: str, rows: list[object]) -> None:
        sent.append(f"{len(rows)} x {sql}")
        run_blindly(self, sql, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(Sender, "run", one)
    monkeypatch.setattr(Sender, "run_blindly", blindly)

    def look(tx: Transaction) -> None:
        tx.execute(INSERT, ("looks",))
        tx.execute("SELECT 1").fetchone()

    apply(store, claim, [put("a"), put("b"), look, put("c")])
    assert sent[1:-1] == [
        f"2 x {INSERT}",
        "SAVEPOINT hookline_event",
        INSERT,
        "SELECT 1",
        "RELEASE hookline_event",
        f"1 x {INSERT}",
    ]


def test_held_statements_keep_their_order_and_a_taken_back_event_leaves_none(
    store: PostgresStore, harness: PostgresHarness, claim: Claim
) -> None:
    def fail(tx: Transaction) -> None:
        tx.execute(INSERT, ("never",))
        tx.executemany(INSERT, [("never",), ("ever",)])
        raise ValueError

    def mixed(tx: Transaction) -> None:
        tx.execute(INSERT, ("c",))
        tx.execute("UPDATE effects SET what = what || '%'")
        tx.executemany(INSERT, iter([("d",), ("e",)]))
        tx.execute("INSERT INTO effects (what) VALUES (%(what)s)", {"what": "f"})

    failed = apply(store, claim, [put("a"), fail, put("b"), mixed, look_and_fail_at(6), put("g")])
    assert sorted(failed) == [1, 4]
    assert harness.effects() == ["a%", "b%", "c%", "d", "e", "f", "g"]


def look_and_fail_at(rows: int) -> Handle:
    """A handler that sees everything kept before it, and then raises."""

    def look(tx: Transaction) -> None:
        tx.execute(INSERT, ("never",))
        assert tx.execute("SELECT count(*) FROM effects").fetchone() == (rows + 1,)
        raise ValueError

    return look


def test_parameters_are_as_they_were_when_the_statement_was_executed(
    store: PostgresStore, harness: PostgresHarness, claim: Claim
) -> None:
    def changing(tx: Transaction) -> None:
        row = ["one"]
        tx.execute(INSERT, row)
        row[0] = "two"
        named = {"what": "two"}
        tx.execute("INSERT INTO effects (what) VALUES (%(what)s)", named)
        named["what"] = "three"
        rows = [["three"], ["four"]]
        tx.executemany(INSERT, rows)
        rows[0][0] = rows[1][0] = "changed"
        words = ["five", "six"]
        tx.execute("INSERT INTO effects (what) SELECT unnest(%s::text[])", (words,))
        words.clear()

    apply(store, claim, [changing])
    assert harness.effects() == ["one", "two", "three", "four", "five", "six"]


def test_a_handler_that_swallows_another_events_failure_does_not_save_the_batch(
    store: PostgresStore, harness: PostgresHarness, claim: Claim
) -> None:
    def swallow(tx: Transaction) -> None:
        for _ in range(2):
            try:
                tx.execute("SELECT 1").fetchone()
            except Exception:
                continue

    with pytest.raises(StatementFailed):
        apply(store, claim, [put("one"), run(BAD), put("two"), swallow, put("three")])
    assert harness.effects() == []
    assert store.claim([P0])[0].next_offset is None


def test_a_value_that_cannot_be_sent_is_its_own_events_failure(
    store: PostgresStore, harness: PostgresHarness, claim: Claim
) -> None:
    for bad in ("half \ud800 a pair", "a\0b"):
        with pytest.raises(StatementFailed):
            apply(store, claim, [put("one"), put(bad), put("two")])
        assert list(apply(store, claim, [put("one"), put(bad), put("two")], careful=True)) == [1]
    assert harness.effects() == ["one", "two"] * 2


def test_a_cursor_of_a_handler_that_has_ended_gives_nothing(
    store: PostgresStore, claim: Claim
) -> None:
    kept = []
    failed = apply(
        store,
        claim,
        [lambda tx: kept.append(tx.execute("SELECT 1")), lambda tx: kept[0].fetchone()],
    )
    assert isinstance(failed[1], HandlerError)


def test_many_more_rows_than_are_held_are_written(
    store: PostgresStore, harness: PostgresHarness, claim: Claim
) -> None:
    rows: Handle = lambda tx: tx.executemany(INSERT, ((str(n),) for n in range(2500)))  # noqa: E731
    apply(store, claim, [rows, *[put(str(2500 + n)) for n in range(2500)]])
    assert harness.effects() == [str(n) for n in range(5000)]


@pytest.mark.parametrize("careful", [False, True])
def test_a_transaction_that_waits_for_a_lock_or_does_nothing_is_bounded(
    store: PostgresStore, claim: Claim, careful: bool
) -> None:
    with store.commit(careful=careful) as commit:
        shown = [
            commit.handle.execute(f"SHOW {name}").fetchone()[0]
            for name in ("lock_timeout", "idle_in_transaction_session_timeout", "statement_timeout")
        ]
    assert shown == ["30s", "5min", "0"]


def test_the_operators_own_timeouts_stay(harness: PostgresHarness) -> None:
    store = PostgresStore(f"{harness.url}?options=-c%20lock_timeout%3D7s", "orders")
    with store.commit() as commit:
        assert commit.handle.execute("SHOW lock_timeout").fetchone() == ("7s",)
    store.close()
