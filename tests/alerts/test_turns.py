"""Of several monitors on one store one tells: when it ends, hangs or cannot ask, and never two."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from consumer.monitor.alerts.contract import AlertStore
from consumer.monitor.alerts.databases import PostgresDatabase, SqliteDatabase
from consumer.monitor.alerts.delivery import Delivery
from consumer.monitor.alerts.grouping import Notification, Patience
from consumer.monitor.alerts.rules import load_rules
from consumer.monitor.alerts.scraping import Scraper
from consumer.monitor.alerts.service import AlertService
from consumer.monitor.alerts.sql_store import SqlAlertStore
from consumer.monitor.alerts.turns import Turn, Turns
from schemas.errors import StoreUnavailable
from tests.parts.postgres import PostgresServer

Open = Callable[[], AlertStore]
LOST_S = 60.0


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    opened: list[AlertStore] = []
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        server.query("DROP SCHEMA IF EXISTS hookline CASCADE")

    def make() -> AlertStore:
        if request.param == "sqlite":
            database = SqliteDatabase(tmp_path / "monitor.db")
        else:
            database = PostgresDatabase(server.dsn)
        opened.append(SqlAlertStore(database, "test"))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Told(Delivery):
    """Keeps what it is to send."""

    def __init__(self, by: str, told: list[str]) -> None:
        super().__init__([])
        self._by = by
        self._told = told

    def send(self, notification: Notification) -> None:
        self._told.append(f"{self._by}: {notification.group} {notification.status}")


class Installation:
    """Monitors with one clock that see one metric, `refused`."""

    def __init__(self, open_store: Open) -> None:
        self.clock = Clock()
        self.refused = 0
        self.told: list[str] = []
        self._open_store = open_store

    def monitor(self, name: str) -> AlertService:
        def page() -> bytes:
            return f"hookline_spool_refused_events {self.refused}\n".encode()

        return AlertService(
            rules=[rule for rule in load_rules() if rule.name == "HooklineSpoolRefused"],
            scraper=Scraper([], own=("hookline-gateway", "g1", page)),
            store=self._open_store(),
            delivery=Told(name, self.told),
            environment="test",
            name=name,
            patience=Patience(wait_s=0, interval_s=0),
            clock_s=self.clock,
            monotonic_s=self.clock,
        )

    def look(self, *monitors: AlertService, seconds: float = 0) -> list[str]:
        """All look, every 15 s for so long; what was told in that time."""
        before = len(self.told)
        for _ in range(int(seconds // 15) + 1):
            self.clock.now_s += 15
            for monitor in monitors:
                monitor.look()
        return self.told[before:]


def test_of_two_monitors_one_tells_and_the_other_only_when_it_has_ended(open_store: Open) -> None:
    on = Installation(open_store)
    one, two = on.monitor("one"), on.monitor("two")
    assert on.look(one, two, seconds=120) == []
    on.refused = 1
    assert on.look(one, two, seconds=120) == ["one: HooklineSpoolRefused firing"]
    assert (sum(one.counts().values()), sum(two.counts().values())) == (1, 0)
    one.stop()
    # It knows what the other has told, and tells only what is new.
    assert on.look(two, seconds=120) == []
    assert sum(two.counts().values()) == 1
    on.refused = 0
    assert on.look(two, seconds=600) == ["two: HooklineSpoolRefused resolved"]


def test_one_that_hangs_or_was_killed_is_followed_after_a_while_and_stands_by(
    open_store: Open,
) -> None:
    on = Installation(open_store)
    one, two = on.monitor("one"), on.monitor("two")
    on.look(one, two)
    on.refused = 1
    assert on.look(two, seconds=LOST_S - 30) == []
    assert on.look(two, seconds=30) == ["two: HooklineSpoolRefused firing"]
    # The one that hung is there again: what it knew is of yesterday.
    on.refused = 0
    assert on.look(one, two, seconds=600) == ["two: HooklineSpoolRefused resolved"]
    assert sum(one.counts().values()) == 0


def test_one_that_is_started_again_goes_on_at_once(open_store: Open) -> None:
    on = Installation(open_store)
    on.look(on.monitor("one"))
    on.refused = 1
    assert on.look(on.monitor("one")) == ["one: HooklineSpoolRefused firing"]
    # Another of the same name is another.
    one, two = on.monitor("one"), on.monitor("one")
    on.refused = 0
    on.look(one)
    on.look(two)
    assert on.look(one, two, seconds=900) == ["one: HooklineSpoolRefused resolved"]


def test_without_its_store_one_goes_on_and_the_other_still_stands_by(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = Installation(open_store)
    one, two = on.monitor("one"), on.monitor("two")
    on.look(one, two)

    def away(*_: object) -> None:
        raise StoreUnavailable("it is away")

    with monkeypatch.context() as patch:
        patch.setattr(SqlAlertStore, "_carry_out", away)
        on.refused = 1
        assert on.look(one, two, seconds=600) == ["one: HooklineSpoolRefused firing"]
    # Back, and the other asks first: its holder has not had the time to say that it is there.
    assert on.look(two, one, seconds=120) == []
    assert (sum(one.counts().values()), sum(two.counts().values())) == (1, 0)


def test_of_many_that_take_it_at_once_one_has_it(open_store: Open) -> None:
    stores = [open_store() for _ in range(4)]
    for rounds in range(10):
        seen = stores[0].turn()
        together = Barrier(len(stores))

        def take(n: int, seen: Turn | None = seen, together: Barrier = together) -> Turn | None:
            together.wait(10)
            return stores[n].take_turn(f"m{n}", seen)

        with ThreadPoolExecutor(len(stores)) as pool:
            taken = [turn for turn in pool.map(take, range(len(stores))) if turn is not None]
        assert taken == [stores[0].turn()]
        assert taken[0].beat == rounds + 1


def test_who_gives_it_back_takes_it_from_nobody_else(open_store: Open) -> None:
    clock = Clock()
    one, two = (Turns(open_store(), name, LOST_S, clock) for name in ("one", "two"))
    assert (one.ours(), two.ours()) == (True, False)
    clock.now_s += LOST_S
    assert two.ours()
    one.give_back()
    assert two.ours()
    assert not one.ours()
    two.give_back()
    assert one.ours()


@pytest.mark.postgres
def test_monitors_that_start_at_once_make_the_tables_once(postgres: PostgresServer) -> None:
    postgres.query("DROP SCHEMA IF EXISTS hookline CASCADE")
    together = Barrier(4)

    def start(_: int) -> None:
        together.wait(10)
        SqlAlertStore(PostgresDatabase(postgres.dsn), "test").close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, range(4)))
