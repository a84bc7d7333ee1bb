"""What only the SQLite store has: its lock, its file, its versions."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from consumer.stores.sqlite import SqliteStore
from schemas.errors import StoreLocked, StoreUnavailable


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
