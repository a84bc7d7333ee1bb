"""What only the SQLite store has: its lock, its file, its versions."""

# ruff: noqa: PT012 - the whole transaction is what raises
from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from consumer.stores.contract import Partition
from consumer.stores.sqlite import SqliteStore
from consumer.stores.sqlite_schema import STEPS, VERSION
from schemas.errors import StoreLocked, StoreUnavailable, TransactionEnded


def test_a_second_process_on_the_file_is_told_who_has_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db", "g")
    with pytest.raises(StoreLocked, match=r"open in another process \(pid \d+\)"):
        SqliteStore(tmp_path / "s.db", "g")
    store.close()
    SqliteStore(tmp_path / "s.db", "g").close()


def test_another_group_is_refused(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "s.db", "orders").close()
    with pytest.raises(StoreUnavailable, match="belongs to consumer group 'orders'"):
        SqliteStore(tmp_path / "s.db", "billing")


def test_a_newer_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "s.db", "g").close()
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("UPDATE hookline_store SET version = 99")
    connection.close()
    with pytest.raises(StoreUnavailable, match="version 99"):
        SqliteStore(tmp_path / "s.db", "g")


def test_a_file_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "s.db").write_bytes(b"not a database, but long enough to be looked at" * 50)
    with pytest.raises(StoreUnavailable, match="not a database"):
        SqliteStore(tmp_path / "s.db", "g")


def test_every_commit_is_synced_to_the_disk(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "s.db", "g")
    with store.commit() as commit:
        assert commit.handle.execute("SELECT * FROM pragma_synchronous").fetchone() == (2,)
        assert commit.handle.execute("SELECT * FROM pragma_journal_mode").fetchone() == ("wal",)
    store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        " rollback",
        "BEGIN",
        "-- note\nCOMMIT",
        "/* x */ SAVEPOINT s",
        "; RELEASE s",
        "end",
        "\ufeffcommit",
        "/**/\ufeff -- x\n\ufeff;COMMIT",
    ],
)
def test_a_handler_cannot_end_the_transaction(tmp_path: Path, statement: str) -> None:
    store = SqliteStore(tmp_path / "s.db", "g")
    with pytest.raises(TransactionEnded, match="may not run"), store.commit() as commit:
        commit.handle.execute("CREATE TABLE effects (what TEXT)")
        commit.handle.execute(statement)
    with store.commit() as commit, pytest.raises(sqlite3.OperationalError):
        commit.handle.execute("SELECT * FROM effects")
    store.close()


def test_a_store_of_the_first_version_is_upgraded_with_all_that_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with sqlite3.connect(path) as old:
        old.executescript(STEPS[0])
        old.execute("INSERT INTO hookline_store VALUES (1, 'g')")
        old.execute("INSERT INTO hookline_progress VALUES ('g', 'events', 0, 3, 42)")
        old.execute("INSERT INTO hookline_seen VALUES (?, 1728000000)", (b"a" * 16,))
    old.close()
    store = SqliteStore(path, "g")
    (claim,) = store.claim([Partition("events", 0)])
    assert (claim.epoch, claim.next_offset) == (4, 42)
    with store.commit() as commit:
        assert commit.seen([b"a" * 16, b"b" * 16]) == {b"a" * 16}
    store.close()
    with sqlite3.connect(path) as new:
        assert new.execute("SELECT version FROM hookline_store").fetchone() == (VERSION,)
    new.close()
