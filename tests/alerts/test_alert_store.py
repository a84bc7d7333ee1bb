"""Where alerts are kept: one suite over SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from consumer.monitor.alerts.contract import AlertStore
from consumer.monitor.alerts.databases import PostgresDatabase, SqliteDatabase
from consumer.monitor.alerts.grouping import Group
from consumer.monitor.alerts.silences import Silence
from consumer.monitor.alerts.sql_store import SqlAlertStore
from consumer.monitor.alerts.states import Alert, State
from schemas.errors import StoreUnavailable
from tests.parts.postgres import PostgresServer

Open = Callable[..., AlertStore]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    opened: list[AlertStore] = []
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        server.query("DROP SCHEMA IF EXISTS hookline CASCADE")

    def make(environment: str = "test") -> AlertStore:
        if request.param == "sqlite":
            database = SqliteDatabase(tmp_path / "monitor.db")
        else:
            database = PostgresDatabase(server.dsn)
        opened.append(SqlAlertStore(database, environment))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def alert(rule: str, state: State = State.FIRING, **more: object) -> Alert:
    return Alert(
        rule=rule,
        state=state,
        **{
            "severity": "warning",
            "labels": (("connection", 'acme\'s "shop"'),),
            "value": 1.5,
            "since_ms": 10,
            **more,
        },
    )


def test_alerts_come_back_the_gravest_first_and_change_in_place(open_store: Open) -> None:
    store = open_store()
    late = alert("B", since_ms=20)
    page = alert("C", severity="page", since_ms=5)
    store.put([alert("A", State.PENDING), late, page])
    assert open_store().alerts() == [page, late, alert("A", State.PENDING)]
    over = msgspec.structs.replace(late, state=State.RESOLVED, resolved_ms=90)
    store.put([over])
    assert [a.rule for a in store.alerts()] == ["C", "A"]
    assert over in store.alerts(resolved_since_ms=90)
    assert over not in store.alerts(resolved_since_ms=91)
    store.drop([alert("A", State.PENDING)])
    assert store.alerts() == [page]


def test_environments_do_not_see_each_other(open_store: Open) -> None:
    store, other = open_store("test"), open_store("production")
    store.put([alert("A")])
    store.put_groups([Group(name="A", sent_ms=1)])
    made = store.silence(Silence(matchers={"alertname": "A"}, from_ms=0, until_ms=100))
    assert (other.alerts(), other.groups(), other.silences(1)) == ([], [], [])
    assert not other.end_silence(made.number, 5)


def test_a_silence_has_a_number_counts_and_ends(open_store: Open) -> None:
    store = open_store()
    one = store.silence(
        Silence(matchers={"a": "b*"}, from_ms=1, until_ms=100, by="me@here", comment="for 'x'")
    )
    two = store.silence(Silence(matchers={"c": "d"}, from_ms=1, until_ms=50))
    assert one.number != two.number
    assert open_store().silences(10) == [one, two]
    assert store.silences(50) == [one]
    assert store.end_silence(one.number, 60)
    assert not store.end_silence(one.number, 61)
    assert store.silences(60) == []


def test_what_was_told_is_remembered_until_all_is_over(open_store: Open) -> None:
    store = open_store()
    group = Group(name="A", told=((("x", "y"),), ()), sent_ms=7, changed_ms=9)
    store.put_groups([group, Group(name="B", sent_ms=1)])
    assert open_store().groups() == [group, Group(name="B", sent_ms=1)]
    store.put_groups([Group(name="A")])
    assert [g.name for g in store.groups()] == ["B"]


def test_what_is_long_over_is_forgotten(open_store: Open) -> None:
    store = open_store()
    store.put([alert("A", State.RESOLVED, resolved_ms=50), alert("B")])
    store.silence(Silence(matchers={"a": "b"}, from_ms=0, until_ms=40))
    assert store.expire(50) == 1
    assert store.expire(51) == 1
    assert [a.rule for a in store.alerts(0)] == ["B"]


def test_a_store_of_a_newer_build_is_left_alone(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "monitor.db")
    store = SqlAlertStore(database, "test")
    with database.transaction() as transaction:
        transaction.execute("UPDATE hookline_alerts_version SET version = 99")
    store.close()
    with pytest.raises(StoreUnavailable, match="use the newer build"):
        SqlAlertStore(SqliteDatabase(tmp_path / "monitor.db"), "test")
