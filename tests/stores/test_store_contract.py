"""What every store must do; a new store is one more fixture parameter."""

# ruff: noqa: PT012 - the whole transaction is what raises
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consumer.stores.contract import Claim, Partition, Store
from consumer.stores.sqlite import SqliteStore
from schemas.dead_letter import DeadLetter
from schemas.errors import Fenced, TransactionEnded

P0, P1 = Partition("events", 0), Partition("events", 1)
ID_A, ID_B = b"a" * 16, b"b" * 16

Open = Callable[[], Store]


@pytest.fixture(params=["sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens the same store again and again, each time after the last one was closed."""
    opened: list[Store] = []

    def open_again() -> Store:
        while opened:
            opened.pop().close()
        opened.append(SqliteStore(tmp_path / "state" / "store.db", "orders"))
        return opened[-1]

    yield open_again
    while opened:
        opened.pop().close()


@pytest.fixture
def store(open_store: Open) -> Store:
    store = open_store()
    with store.commit() as commit:
        commit.handle.execute("CREATE TABLE effects (what TEXT)")
    return store


def effects(store: Store) -> list[str]:
    with store.commit() as commit:
        return [row[0] for row in commit.handle.execute("SELECT what FROM effects").fetchall()]


def put(store: Store, what: str, claim: Claim, position: int, *ids: bytes) -> None:
    with store.commit() as commit:
        commit.handle.execute("INSERT INTO effects VALUES (?)", (what,))
        commit.remember(ids, 1)
        commit.advance([claim], {claim.partition: position})


def test_a_first_claim_knows_no_offset_and_each_claim_raises_the_epoch(store: Store) -> None:
    first, other = store.claim([P0, P1])
    assert (first.next_offset, other.next_offset) == (None, None)
    again = store.claim([P0])[0]
    assert again.epoch == first.epoch + 1
    assert store.claim([P1])[0].epoch == other.epoch + 1


def test_effect_id_and_progress_are_there_together_after_a_restart(
    store: Store, open_store: Open
) -> None:
    claim = store.claim([P0])[0]
    put(store, "done", claim, 8, ID_A)
    reopened = open_store()
    assert effects(reopened) == ["done"]
    assert reopened.claim([P0])[0].next_offset == 8
    with reopened.commit() as commit:
        assert commit.seen([ID_A, ID_B]) == {ID_A}


def test_an_exception_leaves_nothing_of_the_transaction(store: Store) -> None:
    claim = store.claim([P0])[0]
    with pytest.raises(RuntimeError, match="crash"), store.commit() as commit:
        commit.handle.execute("INSERT INTO effects VALUES ('half')")
        commit.remember([ID_A], 1)
        commit.bury([(ID_B, DeadLetter(reason="poison", died_at_us=1))])
        commit.advance([claim], {P0: 8})
        raise RuntimeError("crash")
    assert effects(store) == []
    assert store.claim([P0])[0].next_offset is None
    with store.commit() as commit:
        assert commit.seen([ID_A]) == set()


def test_a_savepoint_takes_back_one_event_only(store: Store) -> None:
    with store.commit() as commit:
        for what, good in (("one", True), ("two", False), ("three", True)):
            commit.savepoint()
            commit.handle.execute("INSERT INTO effects VALUES (?)", (what,))
            if good:
                commit.keep()
            else:
                commit.take_back()
    assert effects(store) == ["one", "three"]


def test_an_older_owner_is_fenced_and_its_effect_is_rolled_back(store: Store) -> None:
    old = store.claim([P0])[0]
    new = store.claim([P0])[0]
    with pytest.raises(Fenced, match=r"events\[0\] has another owner"):
        put(store, "zombie", old, 9, ID_A)
    put(store, "owner", new, 5, ID_B)
    assert effects(store) == ["owner"]
    with store.commit() as commit:
        assert commit.seen([ID_A, ID_B]) == {ID_B}


def test_a_claim_says_which_partitions_are_still_owned(store: Store) -> None:
    old, kept = store.claim([P0, P1])
    new = store.claim([P0])[0]
    with store.commit() as commit:
        assert commit.owned([old, kept]) == {P1}
        assert commit.owned([new]) == {P0}


def test_thousands_of_ids_are_looked_up_in_one_go(store: Store) -> None:
    ids = [n.to_bytes(16, "big") for n in range(3000)]
    with store.commit() as commit:
        commit.remember(ids[::2], 1)
    with store.commit() as commit:
        assert commit.seen(ids) == set(ids[::2])


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
    ],
)
def test_a_handler_cannot_end_the_transaction(store: Store, statement: str) -> None:
    with pytest.raises(TransactionEnded, match="may not run"), store.commit() as commit:
        commit.handle.execute("INSERT INTO effects VALUES ('x')")
        commit.handle.execute(statement)
    assert effects(store) == []


def test_old_ids_are_forgotten_in_bounded_steps(store: Store) -> None:
    with store.commit() as commit:
        commit.remember([n.to_bytes(16, "big") for n in range(10)], now_s=100)
        commit.remember([ID_A], now_s=200)
    assert [store.expire(150, limit=6), store.expire(150, limit=6)] == [6, 4]
    with store.commit() as commit:
        assert commit.seen([ID_A]) == {ID_A}
