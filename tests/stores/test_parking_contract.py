"""What every store must do with parked events and dead letters, and for the operator."""

# ruff: noqa: PT012 - the whole transaction is what raises
from __future__ import annotations

import msgspec
import pytest

from consumer.stores.contract import Claim, Letter, ParkedEvent, ParkedKey, Partition, Store
from consumer.stores.operations import Filter
from schemas.dead_letter import DeadLetter
from tests.stores.harness import Harness

P0, P1 = Partition("events", 0), Partition("events", 1)
NOW_S, NOW_MS = 1_728_000_000, 1_728_000_000_000
ALL = Filter()


def event(offset: int, key: bytes = b"k", partition: Partition = P0, **more: object) -> ParkedEvent:
    fields: dict[str, object] = {
        "value": b"v%d" % offset,
        "traceparent": "00-aa-bb-01",
        "request_id": b"r" * 16,
        "connection": "shop",
        "event_type": "order.paid",
        "parked_at_ms": NOW_MS,
    }
    return ParkedEvent(partition=partition, key=key, offset=offset, **fields | more)  # type: ignore[arg-type]


def letter(n: int, **more: object) -> Letter:
    fields: dict[str, object] = {
        "reason": "permanent",
        "died_at_us": 1000 + n,
        "stage": "CONSUMER",
        "connection": "shop",
        "topic": "events",
        "partition": 0,
        "offset": n,
        "key": b"k",
        "value": b"v%d" % n,
        "request_id": b"r" * 16,
    }
    dead = DeadLetter(**fields | more)  # type: ignore[arg-type]
    return Letter(
        dedupe_id=b"%016d" % n, letter=dead, event_type="order.paid",
        resource_key="t/shop/order/1", traceparent="00-aa-bb-01",
    )  # fmt: skip


@pytest.fixture
def claim(store: Store) -> Claim:
    return store.claim([P0])[0]


def parked(store: Store, key: bytes = b"k", limit: int = 100) -> list[int]:
    with store.commit() as commit:
        return [e.offset for e in commit.parked(P0, key, limit, 10**9)]


def keys(store: Store, partition: Partition = P0) -> dict[bytes, tuple[int, int, int]]:
    claim = store.claim([partition])[0]
    return {k.key: (k.events, k.attempts, k.retry_at_ms) for k in claim.parked}


def park(store: Store, claim: Claim, *events: ParkedEvent, retry_at_ms: int = 5) -> None:
    with store.commit() as commit:
        commit.park(events, retry_at_ms)
        commit.advance([claim], {claim.partition: 100}, {}, NOW_S)


def bury(store: Store, claim: Claim, *letters: Letter) -> None:
    with store.commit() as commit:
        commit.remember([x.dedupe_id for x in letters if x.dedupe_id], NOW_S)
        commit.bury(letters)
        commit.advance([claim], {claim.partition: 100}, {}, NOW_S)


def test_parked_events_come_back_whole_and_by_offset(store: Store, claim: Claim) -> None:
    park(store, claim, event(3, reason="exhausted"), event(1), event(12))
    park(store, claim, event(2, b"other"))
    with store.commit() as commit:
        assert commit.parked(P0, b"k", 2, 10**9) == [event(1), event(3, reason="exhausted")]
    assert parked(store) == [1, 3, 12]
    assert parked(store, b"nobody") == []


def test_parked_events_are_read_up_to_so_many_bytes(store: Store, claim: Claim) -> None:
    offsets = (1, 127, 128, 70_000, 2**40)
    park(store, claim, *(event(offset, value=b"v" * 300) for offset in offsets))
    park(store, claim, event(1, b"big", value=b"v" * 70_000), event(2, b"big", value=b"w"))
    for max_bytes, count in ((1, 1), (300, 1), (301, 2), (599, 2), (600, 2), (1201, 5), (1500, 5)):
        with store.commit() as commit:
            found = [e.offset for e in commit.parked(P0, b"k", 100, max_bytes)]
        assert found == list(offsets[:count]), max_bytes
    with store.commit() as commit:
        assert [e.offset for e in commit.parked(P0, b"big", 100, 70_000)] == [1]
        assert [e.offset for e in commit.parked(P0, b"big", 100, 70_001)] == [1, 2]
        assert [e.offset for e in commit.parked(P0, b"k", 2, 10**9)] == [1, 127]


def test_the_next_owner_learns_every_parked_key_of_its_partition(
    store: Store, claim: Claim, harness: Harness
) -> None:
    other = store.claim([P1])[0]
    park(store, claim, event(1), event(2), retry_at_ms=5)
    park(store, claim, event(3), retry_at_ms=9)
    park(store, claim, event(4, b"other"), retry_at_ms=9)
    park(store, other, event(1, b"k", P1), retry_at_ms=7)
    reopened = harness.open()
    assert keys(reopened) == {b"k": (3, 0, 5), b"other": (1, 0, 9)}
    assert keys(reopened, P1) == {b"k": (1, 0, 7)}


def test_parking_twice_is_parking_once(store: Store, claim: Claim) -> None:
    park(store, claim, event(1))
    park(store, claim, event(1), event(2))
    assert parked(store) == [1, 2]
    assert keys(store)[b"k"][0] == 2


def test_a_key_is_free_when_its_last_parked_event_is_done(store: Store, claim: Claim) -> None:
    park(store, claim, event(1), event(2))
    with store.commit() as commit:
        commit.postpone(P0, b"k", 4, 77)
        commit.advance([claim], {P0: 101}, {}, NOW_S)
    assert keys(store) == {b"k": (2, 4, 77)}
    claim = store.claim([P0])[0]
    with store.commit() as commit:
        commit.unpark([(P0, b"k", 1)])
        commit.advance([claim], {P0: 101}, {}, NOW_S)
    assert parked(store) == [2]
    assert keys(store) == {b"k": (1, 0, 77)}
    claim = store.claim([P0])[0]
    with store.commit() as commit:
        commit.unpark([(P0, b"k", 2)])
        commit.advance([claim], {P0: 101}, {}, NOW_S)
    assert keys(store) == {}


def test_what_was_parked_in_a_failed_transaction_is_not_parked(store: Store, claim: Claim) -> None:
    park(store, claim, event(1))
    with pytest.raises(RuntimeError), store.commit() as commit:
        commit.unpark([(P0, b"k", 1)])
        commit.park([event(2, b"new")], 5)
        raise RuntimeError
    assert parked(store) == [1]
    assert keys(store) == {b"k": (1, 0, 5)}


def test_an_operator_makes_a_parked_key_due_and_its_owner_notices_once(
    store: Store, claim: Claim, harness: Harness
) -> None:
    park(store, claim, event(1), event(2), retry_at_ms=10**15)
    park(store, claim, event(3, b"other"), retry_at_ms=10**15)
    with store.commit() as commit:
        assert commit.touched([P0, P1]) == []
    with harness.operations() as operations:
        assert operations.retry([(P0, b"k"), (P0, b"nobody")], NOW_MS) == 1
    with store.commit() as commit:
        assert commit.touched([P1]) == []
        assert commit.touched([P0]) == [
            ParkedKey(partition=P0, key=b"k", events=2, attempts=0, retry_at_ms=NOW_MS)
        ]
        commit.advance([claim], {P0: 100}, {}, NOW_S)
    with store.commit() as commit:
        assert commit.touched([P0]) == []


def test_all_parked_keys_can_be_asked_for_when_an_answer_was_lost(
    store: Store, claim: Claim, harness: Harness
) -> None:
    park(store, claim, event(1), event(2), retry_at_ms=10**15)
    park(store, claim, event(3, b"other"), retry_at_ms=10**15)
    with harness.operations() as operations:
        operations.retry([(P0, b"k")], NOW_MS)
    for every, found in ((False, {b"k"}), (False, set()), (True, {b"k", b"other"})):
        with store.commit() as commit:
            assert {key.key for key in commit.touched([P0], every=every)} == found
            assert commit.touched([P1], every=every) == []
            commit.advance([claim], {P0: 100}, {}, NOW_S)


def test_a_redriven_letter_is_parked_at_its_own_offset_and_can_be_handled_again(
    store: Store, claim: Claim, harness: Harness
) -> None:
    bury(store, claim, letter(7), letter(3), letter(5, reason="exhausted"))
    with harness.operations() as operations:
        numbers = [x.number for x in operations.letters(ALL, 0, 10) if x.letter.offset != 5]
        assert operations.redrive(numbers, NOW_MS) == 2
        assert operations.redrive(numbers, NOW_MS) == 0
        assert [x.letter.offset for x in operations.letters(ALL, 0, 10)] == [5]
    assert parked(store) == [3, 7]
    with store.commit() as commit:
        assert commit.parked(P0, b"k", 1, 10**9) == [
            event(3, value=b"v3", reason="redriven", event_type="order.paid")
        ]
        assert commit.seen([b"%016d" % n for n in (3, 5, 7)]) == {b"%016d" % 5}
        touched = commit.touched([P0])
        commit.advance([claim], {P0: 100}, {}, NOW_S)
    assert [(k.key, k.events, k.retry_at_ms) for k in touched] == [(b"k", 2, NOW_MS)]


def test_a_letter_redriven_behind_a_parked_key_makes_all_of_it_due(
    store: Store, claim: Claim, harness: Harness
) -> None:
    park(store, claim, event(9), retry_at_ms=10**15)
    bury(store, claim, letter(7))
    with harness.operations() as operations:
        operations.redrive([x.number for x in operations.letters(ALL, 0, 10)], NOW_MS)
    assert parked(store) == [7, 9]
    assert keys(store) == {b"k": (2, 0, NOW_MS)}


def test_a_letters_number_is_never_used_again(store: Store, claim: Claim, harness: Harness) -> None:
    bury(store, claim, letter(1))
    (first,) = store.outgoing(10)
    with harness.operations() as operations:
        assert operations.redrive([first.number], NOW_MS) == 1
    bury(store, claim, letter(2))
    # The outbox has put the first one on the topic meanwhile, and says so.
    store.sent([first.number])
    assert [x.letter for x in store.outgoing(10)] == [letter(2).letter]


def test_a_discarded_letter_is_gone_and_its_event_stays_done(
    store: Store, claim: Claim, harness: Harness
) -> None:
    bury(store, claim, letter(1), letter(2))
    with harness.operations() as operations:
        first = operations.letters(ALL, 0, 1)[0]
        assert operations.discard([first.number, 999]) == 1
        assert operations.letter(first.number) is None
        assert operations.count(ALL) == 1
    with store.commit() as commit:
        assert len(commit.seen([b"%016d" % 1, b"%016d" % 2])) == 2


@pytest.mark.parametrize(
    ("wanted", "offsets"),
    [
        (Filter(), [1, 2, 3, 4]),
        (Filter(connection="shop"), [1, 3, 4]),
        (Filter(reason="exhausted"), [3]),
        (Filter(event_type="order.paid"), [1, 3]),
        (Filter(event_type="order.*"), [1, 3, 4]),
        (Filter(event_type="orde.*"), []),
        (Filter(resource="t/shop/order/1"), [1, 3]),
        (Filter(resource="order/1"), [1, 3]),
        (Filter(resource="rder/1"), []),
        (Filter(since_us=1002), [2, 3, 4]),
        (Filter(until_us=1002), [1]),
        (Filter(connection="shop", since_us=1002, until_us=1004), [3]),
    ],
)
def test_letters_are_found_by_every_filter(
    store: Store, claim: Claim, harness: Harness, wanted: Filter, offsets: list[int]
) -> None:
    unread = msgspec.structs.replace(
        letter(2, connection="other", reason="undecodable", request_id=None),
        dedupe_id=b"", event_type="", resource_key="",
    )  # fmt: skip
    refunded = msgspec.structs.replace(
        letter(4), event_type="order.refunded.fully", resource_key="t/shop/order/2"
    )
    bury(store, claim, letter(1), unread, letter(3, reason="exhausted"), refunded)
    with harness.operations() as operations:
        found = operations.letters(wanted, 0, 10)
        assert [x.letter.offset for x in found] == offsets
        assert operations.count(wanted) == len(offsets)
        # A page at a time gives the same.
        paged, after = [], 0
        while page := operations.letters(wanted, after, 1):
            paged.append(page[0].letter.offset)
            after = page[0].number
        assert paged == offsets


def test_parked_keys_and_events_are_listed_a_page_at_a_time(
    store: Store, claim: Claim, harness: Harness
) -> None:
    park(store, claim, event(1, b"a"), event(2, b"b", connection="other"), event(3, b"c"))
    other = store.claim([P1])[0]
    park(store, other, event(4, b"a", P1))
    with harness.operations() as operations:
        first = operations.parked_keys("", None, 2)
        assert [(k.partition, k.key) for k in first] == [(P0, b"a"), (P0, b"b")]
        rest = operations.parked_keys("", (P0, b"b"), 10)
        assert [(k.partition, k.key) for k in rest] == [(P0, b"c"), (P1, b"a")]
        shop = operations.parked_keys("shop", None, 10)
        assert [(k.partition, k.key) for k in shop] == [(P0, b"a"), (P0, b"c"), (P1, b"a")]
        assert operations.parked_events(P0, b"c", 10) == [event(3, b"c")]
