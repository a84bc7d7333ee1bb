"""The owner's memory of parked keys."""

from __future__ import annotations

from consumer.core.parking import Parking


def test_a_key_keeps_what_is_loaded_of_it_though_its_count_was_set_lower() -> None:
    # The commit that did two of three had no answer; the scan behind it counted what was left.
    parking: Parking[int] = Parking(max_keys=10, max_events=10)
    parking.learn(0, b"k", 3, 0, due=1.0)
    assert parking.take_due(1.0, 5) == [(0, b"k")]
    parking.learn(0, b"k", 1, 0, due=1.0)
    parking.removed(0, b"k", 1, left=2)
    parking.removed(0, b"k", 1, left=1)
    assert parking.holds(0, b"k")
    parking.removed(0, b"k", 1)
    assert not parking.holds(0, b"k")
    assert parking.events == 0


def test_a_key_in_hand_is_not_due_again_until_it_is_put_back() -> None:
    parking: Parking[int] = Parking(max_keys=10, max_events=10)
    parking.added(0, b"k", 2, due=5.0)
    assert parking.take_due(4.9, 5) == []
    assert parking.take_due(5.0, 5) == [(0, b"k")]
    assert parking.take_due(9.0, 5) == []
    parking.put_back(0, b"k", 9.5)
    assert parking.take_due(9.5, 5) == [(0, b"k")]


def test_room_is_bounded_per_partition_in_keys_and_events() -> None:
    parking: Parking[int] = Parking(max_keys=1, max_events=2)
    assert parking.room(0, b"a")
    parking.added(0, b"a", 1, due=1.0)
    assert parking.room(0, b"a")
    assert not parking.room(0, b"b")
    assert parking.room(1, b"b")
    parking.added(0, b"a", 1, due=1.0)
    assert not parking.room(0, b"a")
    parking.drop(0)
    assert parking.room(0, b"b")
    assert len(parking) == 0
