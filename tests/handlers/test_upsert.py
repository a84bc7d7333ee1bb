"""Upsert from a mapping, on SQLite and on PostgreSQL: the same tests for both."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from msgspec.structs import replace

from consumer.handlers.upsert import Paramstyle, Upsert, upsert
from consumer.stores.transaction import Transaction
from hookline import Event, Handlers, PermanentError, RetryLater
from hookline.testing import Shake, check, event
from schemas.errors import ConfigurationError
from tests.parts.postgres import PostgresServer

KEY = {"id": "/issue/id"}
COLUMNS = {
    "title": "/issue/title",
    "state": "/issue/state",
    "labels": "/issue/labels",
    "first": "/issue/labels/0/name",
    "draft": "/issue/draft",
    "score": "/issue/score",
    "changed": "event:occurred_at",
    "version": "event:resource_version",
}
TABLE = (
    "CREATE TABLE issues (id {key} PRIMARY KEY, title TEXT, state TEXT, labels TEXT,"
    ' "first" TEXT, draft BOOLEAN, score REAL, changed TEXT, version BIGINT)'
)


def issue(action: str = "opened", **changes: Any) -> Event:
    body = {
        "id": 7,
        "title": "Robert'); DROP TABLE issues;--",
        "state": "open",
        "labels": [{"name": "bug"}, {"name": "é"}],
        "draft": False,
        "score": 0.5,
    }
    version = changes.pop("version", 1)
    return event(
        f"github.issues.{action}",
        {"issue": {**body, **changes}},
        str(body["id"]),
        version=version,
        occurred_at_s=1_795_510_800 + version,
    )


class Database(Protocol):
    style: Paramstyle

    def apply(self, handler: Any, sent: Event) -> None: ...

    def run(self, sql: str) -> list[tuple[Any, ...]]: ...


class Sqlite:
    style: Paramstyle = "qmark"

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)

    def apply(self, handler: Any, sent: Event) -> None:
        handler(sent, Transaction(self._connection.execute, self._connection.executemany))

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()

    def close(self) -> None:
        self._connection.close()


class Postgres:
    style: Paramstyle = "format"

    def __init__(self, server: PostgresServer) -> None:
        psycopg = pytest.importorskip("psycopg")
        self._connection = psycopg.connect(server.dsn, autocommit=True)
        self.run("DROP SCHEMA IF EXISTS upserts CASCADE")
        self.run("CREATE SCHEMA upserts")
        self.run("SET search_path = upserts")

    def apply(self, handler: Any, sent: Event) -> None:
        def many(sql: str, rows: Any) -> Any:
            raise AssertionError("upsert runs one statement an event")

        with self._connection.transaction():
            handler(sent, Transaction(self._connection.execute, many))

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        done = self._connection.execute(sql)
        return done.fetchall() if done.description else []

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    made: Sqlite | Postgres = (
        Sqlite() if request.param == "sqlite" else Postgres(request.getfixturevalue("postgres"))
    )
    yield made
    made.close()


def issues(database: Database, table: str = "issues") -> Upsert:
    return upsert(table, key=KEY, columns=COLUMNS, paramstyle=database.style)


@pytest.mark.parametrize("key_type", ["BIGINT", "TEXT"])
def test_a_row_is_made_changed_and_removed(database: Database, key_type: str) -> None:
    database.run(TABLE.format(key=key_type))
    rows = issues(database)
    database.apply(rows.write, issue())
    key: Any = 7 if key_type == "BIGINT" else "7"
    labels = '[{"name":"bug"},{"name":"é"}]'
    title = "Robert'); DROP TABLE issues;--"
    changed = "2026-11-24T09:00:01Z"
    assert database.run("SELECT * FROM issues") == [
        (key, title, "open", labels, "bug", False, 0.5, changed, 1)
    ]
    database.apply(rows.write, issue("closed", state="closed", labels=[], version=2))
    assert database.run('SELECT state, labels, "first", version FROM issues') == [
        ("closed", "[]", None, 2)
    ]
    database.apply(rows.delete, issue("deleted"))
    assert database.run("SELECT * FROM issues") == []
    database.apply(rows.delete, issue("deleted"))


def test_a_schema_and_names_that_need_quotes(database: Database) -> None:
    schema = "main" if database.style == "qmark" else "upserts"
    database.run(f'CREATE TABLE {schema}."Order" ("group" TEXT PRIMARY KEY, "select" TEXT)')
    rows = upsert(
        f"{schema}.Order",
        key={"group": "/issue/title"},
        columns={"select": "event:event_type"},
        paramstyle=database.style,
    )
    database.apply(rows.write, issue(title="100 % ? %s"))
    assert database.run('SELECT * FROM "Order"') == [("100 % ? %s", "github.issues.opened")]
    database.apply(rows.delete, issue(title="100 % ? %s"))
    assert database.run('SELECT * FROM "Order"') == []


def test_a_key_of_several_columns_and_no_others(database: Database) -> None:
    database.run("CREATE TABLE seen (tenant TEXT, id TEXT, PRIMARY KEY (tenant, id))")
    rows = upsert(
        "seen", key={"tenant": "event:tenant", **KEY}, columns={}, paramstyle=database.style
    )
    for _ in range(2):
        database.apply(rows.write, issue())
    assert database.run("SELECT * FROM seen") == [("acme", "7")]


def test_an_integer_beyond_64_bits_and_a_missing_place(database: Database) -> None:
    database.run("CREATE TABLE big (id TEXT PRIMARY KEY, n TEXT, missing TEXT)")
    rows = upsert(
        "big",
        key=KEY,
        columns={"n": "/issue/n", "missing": "/issue/labels/9/name"},
        paramstyle=database.style,
    )
    sent = event("github.issues.opened", b'{"issue": {"id": 1, "n": 9223372036854775808}}')
    database.apply(rows.write, sent)
    ((key, number, missing),) = database.run("SELECT * FROM big")
    assert (key, missing) == ("1", None)
    assert float(number) == 2.0**63


@pytest.mark.parametrize(
    "ddl", [None, "CREATE TABLE issues (id TEXT PRIMARY KEY)", TABLE.replace("PRIMARY KEY", "")]
)
def test_a_table_that_does_not_fit_is_told_with_one_that_would(
    database: Database, ddl: str | None
) -> None:
    if ddl is not None:
        database.run(ddl.format(key="TEXT"))
    rows = issues(database)
    with pytest.raises(RetryLater, match="does not fit its mapping") as told:
        database.apply(rows.write, issue())
    assert told.value.after_s == 10.0
    assert "Robert" not in str(told.value)
    assert told.value.__context__ is None
    # What it suggests works.
    database.run("DROP TABLE IF EXISTS issues")
    database.run(str(told.value).partition("would: ")[2])
    database.apply(rows.write, issue())
    assert len(database.run("SELECT * FROM issues")) == 1


@pytest.mark.parametrize(
    "changes", [{"id": None}, {"id": [1]}, {"id": {}}], ids=["null", "list", "object"]
)
def test_a_payload_without_its_key_is_permanent_and_names_the_place(
    database: Database, changes: dict[str, Any]
) -> None:
    with pytest.raises(PermanentError, match=r"github\.issues\.opened .* /issue/id") as told:
        database.apply(issues(database).write, issue(**changes))
    assert "Robert" not in str(told.value)


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"3", b'"x"', b"null", b'{"issue": 3}'])
def test_a_payload_of_another_shape_is_permanent(database: Database, payload: bytes) -> None:
    with pytest.raises(PermanentError):
        database.apply(issues(database).write, event("github.issues.opened", payload))


def test_a_value_that_the_table_does_not_take_is_permanent_and_not_quoted(
    database: Database,
) -> None:
    database.run("CREATE TABLE strict (id TEXT PRIMARY KEY, n INT NOT NULL CHECK (n < 5))")
    rows = upsert("strict", key=KEY, columns={"n": "/issue/n"}, paramstyle=database.style)
    for value in (None, 424242):
        with pytest.raises(PermanentError, match="does not take a value") as told:
            database.apply(rows.write, issue(n=value))
        assert "424242" not in str(told.value)
        assert told.value.__context__ is None


@pytest.mark.postgres
def test_what_postgresql_cannot_read_is_permanent(postgres: PostgresServer) -> None:
    database = Postgres(postgres)
    database.run("CREATE TABLE typed (id BIGINT PRIMARY KEY, at TIMESTAMPTZ, doc JSONB)")
    rows = upsert(
        "typed",
        key=KEY,
        columns={"at": "event:occurred_at", "doc": "/issue/labels"},
        paramstyle="format",
    )
    database.apply(rows.write, issue())
    assert database.run("SELECT id, doc -> 1 ->> 'name' FROM typed") == [(7, "é")]
    for wrong in ("canary", "a\0b", 10**30):
        with pytest.raises(PermanentError) as told:
            database.apply(rows.write, issue(id=wrong))
        assert "canary" not in str(told.value)
    database.close()


def test_a_missing_row_elsewhere_may_pass(database: Database) -> None:
    if database.style == "qmark":
        database.run("PRAGMA foreign_keys = ON")
    database.run("CREATE TABLE parents (id TEXT PRIMARY KEY)")
    database.run("CREATE TABLE children (id TEXT PRIMARY KEY, of TEXT REFERENCES parents)")
    rows = upsert("children", key=KEY, columns={"of": "/issue/of"}, paramstyle=database.style)
    with pytest.raises(RetryLater, match="breaks a constraint"):
        database.apply(rows.write, issue(of="p1"))
    database.run("INSERT INTO parents VALUES ('p1')")
    database.apply(rows.write, issue(of="p1"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"table": "a.b.c"}, "name or schema.name"),
        ({"table": 'issues"; DROP TABLE x; --'}, "name or schema.name"),
        ({"table": ""}, "name or schema.name"),
        ({"table": "hookline_seen"}, "Hookline's own"),
        ({"table": "main.HOOKLINE_seen"}, "Hookline's own"),
        ({"key": {}}, "at least one key"),
        ({"columns": {"id": "/x"}}, "take it from columns"),
        ({"columns": {"a b": "/x"}}, "no column's name"),
        ({"columns": {"a": "x"}}, "JSON pointer"),
        ({"columns": {"a": "/x~2"}}, "~0"),
        ({"columns": {"a": "event:secret_name"}}, "an event has no 'secret_name'"),
    ],
)
def test_mistakes_in_a_mapping_are_told(options: dict[str, Any], told: str) -> None:
    given: dict[str, Any] = {"table": "issues", "key": KEY, "columns": {}, **options}
    with pytest.raises(ConfigurationError, match=told):
        upsert(given.pop("table"), **given)


def test_no_schedule_changes_the_table_also_with_stale_events_and_deletes() -> None:
    handlers = Handlers()
    rows = upsert("issues", key=KEY, columns=COLUMNS)
    handlers.on("github.issues.*", stale="skip")(rows.write)
    handlers.on("github.issues.deleted", stale="skip", deletes=True)(rows.delete)
    events = [
        issue(action, id=n % 3, state=action, version=n)
        for n, action in enumerate(["opened", "edited", "labeled", "closed", "deleted"] * 3)
    ]
    events = [replace(each, resource_id=str(n % 3)) for n, each in enumerate(events)]
    reference = check(
        handlers, events, setup=TABLE.format(key="TEXT"), shake=Shake(stale=True), seeds=150
    )
    assert reference.outcomes["applied"] == len(events)
