"""What every store must do, whatever database it is: effects, ids, progress, versions."""

# ruff: noqa: PT012 - the whole transaction is what raises
from __future__ import annotations

import pytest

from consumer.core.staleness import Applied
from consumer.stores.contract import Claim, Layout, Letter, Partition, Store
from schemas.dead_letter import DeadLetter
from schemas.errors import Fenced
from tests.stores.harness import Harness

P0, P1 = Partition("events", 0), Partition("events", 1)
ID_A, ID_B, ID_C = b"a" * 16, b"b" * 16, b"c" * 16
DAY_S = 86_400
NOW_S = 20_000 * DAY_S + 3600


def put(
    harness: Harness, store: Store, what: str, claim: Claim, position: int, *ids: bytes
) -> None:
    with store.commit() as commit:
        harness.effect(commit, what)
        commit.remember(ids, NOW_S)
        commit.advance([claim], {claim.partition: position}, {}, NOW_S)


def test_a_first_claim_knows_no_offset_and_each_claim_raises_the_epoch(store: Store) -> None:
    first, other = store.claim([P0, P1])
    assert (first.next_offset, other.next_offset) == (None, None)
    again = store.claim([P0])[0]
    assert again.epoch == first.epoch + 1
    assert store.claim([P1])[0].epoch == other.epoch + 1


def test_the_last_claimant_is_known_by_name(store: Store) -> None:
    store.claim([P0], "host-1")
    store.claim([P0], "host-2")
    with store.commit() as commit:
        assert commit.owner(P0) == "host-2"
        assert commit.owner(P1) == ""


def test_effect_id_and_progress_are_there_together_after_a_restart(
    store: Store, harness: Harness
) -> None:
    claim = store.claim([P0])[0]
    put(harness, store, "done", claim, 8, ID_A)
    reopened = harness.open()
    assert harness.effects() == ["done"]
    assert reopened.claim([P0])[0].next_offset == 8
    with reopened.commit() as commit:
        assert commit.seen([ID_A, ID_B]) == {ID_A}
        assert commit.seen([]) == set()


def test_an_exception_leaves_nothing_of_the_transaction(store: Store, harness: Harness) -> None:
    claim = store.claim([P0])[0]
    with pytest.raises(RuntimeError, match="crash"), store.commit() as commit:
        harness.effect(commit, "half")
        commit.remember([ID_A], NOW_S)
        commit.note_applied({ID_C: Applied(1)}, NOW_S)
        commit.bury([Letter(dedupe_id=ID_B, letter=DeadLetter(reason="poison", died_at_us=1))])
        commit.advance([claim], {P0: 8}, {}, NOW_S)
        raise RuntimeError("crash")
    assert harness.effects() == []
    assert store.claim([P0])[0].next_offset is None
    assert store.outgoing(10) == []
    with store.commit() as commit:
        assert commit.seen([ID_A]) == set()
        assert dict(commit.applied([ID_C])) == {}


def test_a_savepoint_takes_back_one_event_only(store: Store, harness: Harness) -> None:
    claim = store.claim([P0])[0]
    with store.commit() as commit:
        for what, good in (("one", True), ("two", False), ("three", True)):
            commit.savepoint()
            harness.effect(commit, what)
            if good:
                commit.keep()
            else:
                commit.take_back()
        commit.advance([claim], {P0: 3}, {}, NOW_S)
    assert harness.effects() == ["one", "three"]


def test_an_older_owner_is_fenced_and_its_effect_is_rolled_back(
    store: Store, harness: Harness
) -> None:
    old = store.claim([P0])[0]
    new = store.claim([P0])[0]
    with pytest.raises(Fenced, match=r"events\[0\] has another owner"):
        put(harness, store, "zombie", old, 9, ID_A)
    put(harness, store, "owner", new, 5, ID_B)
    assert harness.effects() == ["owner"]
    with store.commit() as commit:
        assert commit.seen([ID_A, ID_B]) == {ID_B}
    assert store.claim([P0])[0].next_offset == 5


def test_a_claim_says_which_partitions_are_still_owned(store: Store) -> None:
    old, kept = store.claim([P0, P1])
    new = store.claim([P0])[0]
    with store.commit() as commit:
        assert commit.owned([old, kept]) == {P1}
        assert commit.owned([new]) == {P0}


def test_thousands_of_ids_are_looked_up_in_one_go(store: Store) -> None:
    ids = [n.to_bytes(16, "big") for n in range(3000)]
    claim = store.claim([P0])[0]
    with store.commit() as commit:
        commit.remember(ids[::2], NOW_S)
        commit.advance([claim], {P0: 1}, {}, NOW_S)
    with store.commit() as commit:
        assert commit.seen(ids) == set(ids[::2])


def test_an_id_is_known_whichever_day_it_was_noted_on(store: Store) -> None:
    claim = store.claim([P0])[0]
    for day, dedupe_id in enumerate((ID_A, ID_B, ID_C)):
        with store.commit() as commit:
            commit.remember([dedupe_id], NOW_S + 2 * day * DAY_S)
            commit.advance([claim], {P0: day}, {}, NOW_S)
    with store.commit() as commit:
        assert commit.seen([ID_A, ID_B, ID_C, b"x" * 16]) == {ID_A, ID_B, ID_C}


def test_old_ids_are_forgotten_by_whole_days_and_newer_ones_stay(store: Store) -> None:
    claim = store.claim([P0])[0]
    old = [n.to_bytes(16, "big") for n in range(10)]
    with store.commit() as commit:
        commit.remember(old, NOW_S - 3 * DAY_S)
        commit.note_applied({ID_A: Applied(1)}, NOW_S - 3 * DAY_S)
        commit.advance([claim], {P0: 10}, {}, NOW_S)
    with store.commit() as commit:
        commit.remember([ID_B], NOW_S)
        commit.note_applied({ID_C: Applied(1)}, NOW_S)
        commit.advance([claim], {P0: 11}, {}, NOW_S)
    steps = 0
    while store.expire(NOW_S - DAY_S, limit=6, applied_before_s=NOW_S - DAY_S):
        steps += 1
        assert steps < 100
    with store.commit() as commit:
        assert commit.seen([*old, ID_B]) == {ID_B}
        assert set(commit.applied([ID_A, ID_C])) == {ID_C}


def test_an_id_above_the_position_never_expires_however_old(store: Store) -> None:
    claim = store.claim([P0])[0]
    with store.commit() as commit:
        # Offset 7 is done while 5 keeps failing.
        commit.remember([ID_A], NOW_S - 9 * DAY_S)
        commit.advance([claim], {P0: 5}, {P0: 7}, NOW_S - 9 * DAY_S)
    with store.commit() as commit:
        commit.remember([ID_B], NOW_S)
        commit.advance([claim], {P0: 5}, {P0: 7}, NOW_S)
    while store.expire(NOW_S, limit=100):
        pass
    with store.commit() as commit:
        assert commit.seen([ID_A]) == {ID_A}
    # The position has passed it: now it may go.
    with store.commit() as commit:
        commit.remember([ID_C], NOW_S)
        commit.advance([claim], {P0: 9}, {}, NOW_S)
    while store.expire(NOW_S, limit=100):
        pass
    with store.commit() as commit:
        assert commit.seen([ID_A, ID_B, ID_C]) == {ID_B, ID_C}


def forget(store: Store, before_s: int, applied_before_s: int | None = None) -> None:
    while store.expire(before_s, 100, applied_before_s=applied_before_s):
        pass


def seen(store: Store, *ids: bytes) -> set[bytes]:
    with store.commit() as commit:
        return commit.seen(ids)


def test_ids_above_the_position_outlive_their_owner_until_all_of_them_are_passed(
    store: Store, harness: Harness
) -> None:
    claim = store.claim([P0])[0]
    with store.commit() as commit:
        # Offsets 6 to 2999 are done while 5 keeps failing; then the consumer is away for 9 days.
        commit.remember([ID_A], NOW_S - 9 * DAY_S)
        commit.advance([claim], {P0: 5}, {P0: 2999}, NOW_S - 9 * DAY_S)
    store = harness.open()
    forget(store, NOW_S - 8 * DAY_S)
    claim = store.claim([P0])[0]
    # What the new owner has in hand has no gap, or a lower one, and is far below what was done.
    for position, gaps in ((500, {}), (700, {P0: 900}), (901, {}), (2999, {})):
        with store.commit() as commit:
            commit.advance([claim], {P0: position}, gaps, NOW_S)
        forget(store, NOW_S)
        assert seen(store, ID_A) == {ID_A}, position
    with store.commit() as commit:
        commit.advance([claim], {P0: 3000}, {}, NOW_S)
    forget(store, NOW_S)
    assert seen(store, ID_A) == set()


def test_a_partition_that_is_given_up_holds_no_ids(store: Store) -> None:
    """And one that was only away for long does: it is claimed within a day of coming back."""
    gone, away = store.claim([P0, P1])
    long_ago_s = NOW_S - 20 * DAY_S
    with store.commit() as commit:
        commit.remember([ID_A], long_ago_s)
        commit.advance([gone, away], {P0: 5, P1: 5}, {P0: 7, P1: 7}, long_ago_s)
    before_s = NOW_S - 8 * DAY_S
    forget(store, before_s)
    assert seen(store, ID_A) == {ID_A}
    away = store.claim([P1])[0]
    forget(store, before_s + 2 * DAY_S)
    assert seen(store, ID_A) == {ID_A}
    with store.commit() as commit:
        commit.advance([away], {P1: 8}, {}, NOW_S)
    forget(store, before_s + DAY_S // 2)
    assert seen(store, ID_A) == {ID_A}
    forget(store, before_s + DAY_S)
    assert seen(store, ID_A) == set()


def test_applied_versions_have_a_retention_of_their_own(store: Store) -> None:
    claim = store.claim([P0])[0]
    with store.commit() as commit:
        commit.remember([ID_A], NOW_S - 30 * DAY_S)
        commit.note_applied({ID_B: Applied(7)}, NOW_S - 30 * DAY_S)
        commit.note_applied({ID_C: Applied(8)}, NOW_S - 10 * DAY_S)
        commit.advance([claim], {P0: 5}, {}, NOW_S)
    for applied_before_s, left in (
        (None, {ID_B, ID_C}),
        (NOW_S - 40 * DAY_S, {ID_B, ID_C}),
        (NOW_S - 20 * DAY_S, {ID_C}),
    ):
        forget(store, NOW_S - 8 * DAY_S, applied_before_s)
        assert seen(store, ID_A) == set()
        with store.commit() as commit:
            assert set(commit.applied([ID_B, ID_C])) == left


def test_what_is_applied_to_a_resource_is_kept_and_replaced(store: Store) -> None:
    claim = store.claim([P0])[0]
    with store.commit() as commit:
        commit.note_applied({ID_A: Applied(7, 1000), ID_B: Applied(None, 5, True)}, NOW_S)
        commit.advance([claim], {P0: 1}, {}, NOW_S)
    with store.commit() as commit:
        found = commit.applied([ID_A, ID_B, ID_C])
        assert dict(found) == {ID_A: Applied(7, 1000), ID_B: Applied(None, 5, True)}
        commit.note_applied({ID_A: Applied(2**62, None, True)}, NOW_S)
        commit.advance([claim], {P0: 2}, {}, NOW_S)
    with store.commit() as commit:
        assert dict(commit.applied([ID_A])) == {ID_A: Applied(2**62, None, True)}


def test_a_dead_letter_goes_out_once_it_is_committed_and_is_then_noted(store: Store) -> None:
    claim = store.claim([P0])[0]
    letters = [
        Letter(dedupe_id=ID_A, letter=DeadLetter(reason="permanent", died_at_us=1, value=b"v")),
        Letter(dedupe_id=b"", letter=DeadLetter(reason="undecodable", died_at_us=2)),
    ]
    with store.commit() as commit:
        commit.bury(letters)
        commit.advance([claim], {P0: 2}, {}, NOW_S)
    first = store.outgoing(1)
    assert [x.letter for x in first] == [letters[0].letter]
    store.sent([first[0].number])
    assert [x.letter for x in store.outgoing(10)] == [letters[1].letter]


def test_a_layout_is_noted_in_place_of_the_one_before(store: Store, harness: Harness) -> None:
    assert store.layout("events") is None
    first = Layout(4)
    assert store.note_layout("events", first, None)
    grown = Layout(6, 4, {0: 17, 1: 0, 2: 3, 3: 2**40})
    assert store.note_layout("events", grown, first)
    reopened = harness.open()
    assert reopened.layout("events") == grown
    assert reopened.layout("other") is None


def test_of_two_who_note_a_layout_one_is_told_to_look_again(store: Store, harness: Harness) -> None:
    other = harness.another()
    first, ours, theirs = Layout(4), Layout(6, 4, {0: 3, 1: 300}), Layout(8, 4, {1: 300, 0: 3})
    assert other.note_layout("events", first, None)
    assert not store.note_layout("events", Layout(5), None)
    assert store.layout("events") == first
    assert other.note_layout("events", theirs, first)
    assert not store.note_layout("events", ours, first)
    assert store.layout("events") == theirs
    # Equal is equal, in whichever order its ends were written down.
    assert store.note_layout("events", first, Layout(8, 4, {0: 3, 1: 300}))
    other.close()


def test_everybodys_progress_can_be_seen(store: Store, harness: Harness) -> None:
    first, _ = store.claim([P0, P1])
    elsewhere = store.claim([Partition("events.2", 0)])[0]
    put(harness, store, "x", first, 12, ID_A)
    put(harness, store, "y", elsewhere, 3, ID_B)
    assert store.progress("events") == {0: 12}
    assert store.progress("events.2") == {0: 3}
    assert store.progress("other") == {}


def test_a_store_can_be_closed_twice(store: Store) -> None:
    store.close()
    store.close()
