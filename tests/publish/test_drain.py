"""The drain's decisions: what may be sent now, and what a failure comes to."""

from __future__ import annotations

import time

from producer.publish.drain import Drain, Entry, Verdict
from producer.publish.spool_file import Row


def entry(number: int, key: bytes = b"k", size_bytes: int = 10) -> Entry:
    row = Row(number, "events", key, bytes(size_bytes - len(key)), b"", 0, False)
    return Entry(row, ("events", key, row.value, []))


def send(drain: Drain) -> list[int]:
    """Everything that it lets go now."""
    numbers = []
    while (one := drain.next()) is not None:
        drain.sent(one)
        numbers.append(one.row.number)
    return numbers


def reading(*numbers: int, **bounds: int) -> Drain:
    drain = Drain(**bounds)
    drain.read([entry(number) for number in numbers])
    return drain


def test_records_go_in_order_within_the_window() -> None:
    drain = reading(*range(1, 8), max_events=3)
    assert send(drain) == [1, 2, 3]
    drain.acknowledged(2)
    assert send(drain) == [4]
    assert (drain.in_flight, drain.read_events) == (3, 3)
    drain = reading(*range(1, 8), max_bytes=25)
    assert send(drain) == [1, 2]


def test_a_record_larger_than_the_window_goes_by_itself() -> None:
    drain = Drain(max_bytes=25)
    drain.read([entry(1), entry(2, size_bytes=100), entry(3)])
    assert send(drain) == [1]
    drain.acknowledged(1)
    assert send(drain) == [2]


def test_after_a_failure_nothing_goes_until_all_reports_are_in_and_then_the_failed_ones_first() -> (
    None
):
    drain = reading(*range(1, 7), max_events=4)
    assert send(drain) == [1, 2, 3, 4]
    assert drain.fail(3, False)
    assert send(drain) == []
    assert not drain.resume()
    drain.acknowledged(1)
    assert drain.fail(2, False)
    drain.fail(4, False)
    assert drain.resume()
    assert send(drain) == [2], "the first alone: it is the probe"
    drain.acknowledged(2)
    assert send(drain) == [3, 4, 5, 6]
    assert drain.overtaken == 0


def test_what_may_be_at_fault_is_sent_alone_and_only_then_set_aside() -> None:
    drain = reading(1, 2, 3, 4)
    assert send(drain) == [1, 2, 3, 4]
    for number in (1, 2, 3):
        failed = drain.fail(number, True)
        assert failed is not None
        assert failed[1] is Verdict.AGAIN
    drain.acknowledged(4)
    drain.resume()
    assert send(drain) == [1]
    drain.acknowledged(1)
    assert send(drain) == [2]
    failed = drain.fail(2, True)
    assert failed is not None
    assert (failed[0].row.number, failed[1]) == (2, Verdict.SET_ASIDE)
    drain.resume()
    assert send(drain) == [3]
    drain.acknowledged(3)
    # 4 has its key, and stands before 1 and 3 in the log: counted, since it should not be.
    assert drain.overtaken == 2


def test_what_was_taken_over_is_in_flight_and_goes_first_when_it_fails() -> None:
    drain = Drain()
    drain.took_over(entry(1), failed=False)
    drain.took_over(entry(2), failed=True)
    drain.read([entry(3)])
    assert send(drain) == []
    assert drain.oldest == entry(1).row
    drain.acknowledged(1)
    assert drain.resume()
    assert send(drain) == [2]
    drain.acknowledged(2)
    assert send(drain) == [3]


def test_what_the_spool_could_not_keep_is_forgotten() -> None:
    drain = Drain()
    drain.took_over(entry(1), failed=True)
    drain.took_over(entry(2), failed=False)
    drain.forget({1, 2})
    assert (drain.in_flight, drain.failed) == (0, 0)
    assert drain.acknowledged(2) is None
    assert drain.fail(2, False) is None


def test_no_more_is_read_than_a_window_holds_however_large_the_records_are() -> None:
    drain = Drain(max_events=1_000, max_bytes=250)
    numbers = iter(range(1, 100))
    while drain.wants_more:
        drain.read([entry(next(numbers), size_bytes=100)])
    assert drain.read_events == 3
    assert send(drain) == [1, 2]
    assert drain.wants_more


def test_half_of_many_that_fail_cost_no_look_at_each_for_each_of_the_others() -> None:
    drain = Drain()
    for number in range(1, 20_001):
        drain.took_over(entry(number, b"k%d" % (number % 500)), failed=False)
    began_s = time.process_time()
    for number in range(1, 10_001):
        drain.fail(number, False)
    for number in range(10_001, 20_001):
        drain.acknowledged(number)
    assert drain.resume()
    # 0.03 s; it was 8.
    assert time.process_time() - began_s < 1.5
    drain.acknowledged(send(drain)[0])
    assert drain.overtaken == 1
