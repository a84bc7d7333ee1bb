"""The cache: how often the backend is asked, and what counts while it is away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from credentials.cache import CachedBackend, CachePolicy
from credentials.reference import Reference, parse_reference
from credentials.secret import Secret
from credentials.value import away, unavailable
from schemas.errors import BackendAway, SecretUnavailable

A, B = parse_reference("vault:secret/a#k"), parse_reference("vault:secret/b#k")
POLICY = CachePolicy(
    ttl_s=300, refresh_ahead_s=60, keep_s=3600, retry_s=5, wait_s=10, max_entries=3
)


class Backend:
    """Answers as it is told to; counts the questions."""

    scheme = "vault"

    def __init__(self) -> None:
        self.answers: Callable[[Reference], Secret] = lambda reference: Secret("one")
        self.asked: list[Reference] = []
        self.asking = threading.Semaphore(0)

    def fetch(self, reference: Reference) -> Secret:
        self.asked.append(reference)
        self.asking.release()
        return self.answers(reference)

    def is_away(self) -> None:
        def answer(reference: Reference) -> Secret:
            raise away(reference, "nobody is there")

        self.answers = answer

    def refuses(self) -> None:
        def answer(reference: Reference) -> Secret:
            raise unavailable(reference, "no such secret")

        self.answers = answer

    def says(self, value: str) -> None:
        self.answers = lambda reference: Secret(value)


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(backend: Backend, clock: Clock) -> Iterator[CachedBackend]:
    made = CachedBackend(backend, POLICY, now_s=clock)
    yield made
    made.close()


def settled(cache: CachedBackend) -> None:
    """Wait until no fetch is on its way, by way of the lock that ends each."""
    while cache._flights or cache._due:
        flights = list(cache._flights.values())
        for flight in flights:
            assert flight.landed.wait(10)


def test_a_young_value_is_not_asked_for_again(
    cache: CachedBackend, backend: Backend, clock: Clock
) -> None:
    assert cache.fetch(A) == Secret("one")
    clock.now_s += 239.9
    backend.says("two")
    assert cache.fetch(A) == Secret("one")
    assert backend.asked == [A]


def test_shortly_before_its_end_a_value_is_fetched_in_the_background(
    cache: CachedBackend, backend: Backend, clock: Clock
) -> None:
    cache.fetch(A)
    assert backend.asking.acquire(timeout=10)
    may_answer = threading.Event()

    def slow(reference: Reference) -> Secret:
        assert may_answer.wait(10)
        return Secret("two")

    backend.answers = slow
    clock.now_s += 240
    # The backend hangs, and nobody waits for it; nor does anybody ask a second time.
    assert [cache.fetch(A) for _ in range(5)] == [Secret("one")] * 5
    assert backend.asking.acquire(timeout=10)
    assert cache.fetch(A) == Secret("one")
    may_answer.set()
    settled(cache)
    assert cache.fetch(A) == Secret("two")
    assert backend.asked == [A, A]


def test_an_old_value_is_fetched_before_it_is_given(
    cache: CachedBackend, backend: Backend, clock: Clock
) -> None:
    cache.fetch(A)
    clock.now_s += 300
    backend.says("two")
    assert cache.fetch(A) == Secret("two")


def test_many_who_ask_at_once_make_one_fetch(cache: CachedBackend, backend: Backend) -> None:
    may_answer = threading.Event()

    def slow(reference: Reference) -> Secret:
        assert may_answer.wait(10)
        return Secret("one")

    backend.answers = slow
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(cache.fetch, A) for _ in range(16)]
        assert backend.asking.acquire(timeout=10)
        may_answer.set()
        assert [one.result(10) for one in asked] == [Secret("one")] * 16
    assert backend.asked == [A]


def test_who_asks_at_once_gets_an_error_of_their_own(
    cache: CachedBackend, backend: Backend
) -> None:
    may_answer = threading.Event()

    def slow(reference: Reference) -> Secret:
        assert may_answer.wait(10)
        raise unavailable(reference, "no such secret")

    backend.answers = slow
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(cache.fetch, A) for _ in range(2)]
        assert backend.asking.acquire(timeout=10)
        may_answer.set()
        errors = [one.exception(10) for one in asked]
    assert all(isinstance(error, SecretUnavailable) for error in errors)
    assert errors[0] is not errors[1]


def test_while_the_backend_is_away_the_last_good_value_counts_for_a_bounded_time(
    cache: CachedBackend, backend: Backend, clock: Clock
) -> None:
    cache.fetch(A)
    backend.is_away()
    clock.now_s += 3599
    assert cache.fetch(A) == Secret("one")
    clock.now_s += 1
    with pytest.raises(BackendAway, match=r"secret/a#k.*nobody is there.*older than 3600 s"):
        cache.fetch(A)


def test_an_absence_and_its_end_are_said_once(
    cache: CachedBackend, backend: Backend, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hookline.credentials")
    cache.fetch(A)
    cache.fetch(B)
    backend.is_away()
    for _ in range(20):
        clock.now_s += 400 / 20 + 15
        cache.fetch(A)
        cache.fetch(B)
    settled(cache)
    assert [r.message.partition(";")[0] for r in caplog.records] == [
        "a secret backend does not answer"
    ]
    backend.says("two")
    clock.now_s += 400
    assert cache.fetch(A) == Secret("two")
    cache.fetch(B)
    assert [r.message for r in caplog.records][1:] == ["a secret backend answers again"]
    assert "one" not in caplog.text
    assert "two" not in caplog.text


def test_a_backend_that_is_away_is_left_alone_for_a_while_also_for_other_secrets(
    cache: CachedBackend, backend: Backend, clock: Clock
) -> None:
    cache.fetch(A)
    backend.is_away()
    clock.now_s += 300
    assert cache.fetch(A) == Secret("one")
    clock.now_s += 4.9
    assert cache.fetch(A) == Secret("one")
    with pytest.raises(BackendAway, match=r"^vault:secret/b#k cannot be read: nobody is there$"):
        cache.fetch(B)
    assert backend.asked == [A, A]
    clock.now_s += 0.1
    backend.says("two")
    assert cache.fetch(B) == Secret("two")


def test_a_place_that_is_away_does_not_hold_up_another(backend: Backend, clock: Clock) -> None:
    cache = CachedBackend(backend, POLICY, place_of=lambda r: r.locator, now_s=clock)
    backend.is_away()
    with pytest.raises(BackendAway):
        cache.fetch(A)
    backend.says("two")
    assert cache.fetch(B) == Secret("two")


def test_a_refused_secret_counts_no_longer_at_once(
    cache: CachedBackend, backend: Backend, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    cache.fetch(A)
    backend.refuses()
    clock.now_s += 300
    with pytest.raises(SecretUnavailable, match="no such secret"):
        cache.fetch(A)
    assert "is refused now" in caplog.text
    # Also when the backend goes away after: the value is forgotten.
    backend.is_away()
    with pytest.raises(BackendAway):
        cache.fetch(A)


def test_a_refusal_in_the_background_counts_too(
    cache: CachedBackend, backend: Backend, clock: Clock
) -> None:
    cache.fetch(A)
    assert backend.asking.acquire(timeout=10)
    backend.refuses()
    clock.now_s += 240
    cache.fetch(A)
    assert backend.asking.acquire(timeout=10)
    settled(cache)
    with pytest.raises(SecretUnavailable, match="no such secret"):
        cache.fetch(A)


def test_a_client_s_fault_in_the_background_is_said_and_the_value_counts_on(
    cache: CachedBackend, backend: Backend, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    cache.fetch(A)
    assert backend.asking.acquire(timeout=10)

    def broken(reference: Reference) -> Secret:
        raise ZeroDivisionError

    backend.answers = broken
    clock.now_s += 240
    assert cache.fetch(A) == Secret("one")
    assert backend.asking.acquire(timeout=10)
    settled(cache)
    backend.says("two")
    clock.now_s += 5
    assert cache.fetch(A) == Secret("one")
    assert backend.asking.acquire(timeout=10)
    settled(cache)
    assert cache.fetch(A) == Secret("two")
    reasons = [vars(record)["data"].get("reason", "") for record in caplog.records]
    assert "ZeroDivisionError at test_cache" in reasons[0]


def test_a_client_s_fault_in_the_foreground_lets_nobody_wait(
    cache: CachedBackend, backend: Backend
) -> None:
    def broken(reference: Reference) -> Secret:
        raise ZeroDivisionError

    backend.answers = broken
    with pytest.raises(BackendAway, match="ZeroDivisionError"):
        cache.fetch(A)
    backend.says("two")
    with pytest.raises(BackendAway, match="ZeroDivisionError"):
        cache.fetch(A)


def test_a_fetch_that_is_broken_off_lets_nobody_wait(
    cache: CachedBackend, backend: Backend
) -> None:
    def broken(reference: Reference) -> Secret:
        raise KeyboardInterrupt

    backend.answers = broken
    with pytest.raises(KeyboardInterrupt):
        cache.fetch(A)
    with pytest.raises(BackendAway, match="broke off"):
        cache.fetch(A)


def test_who_waits_for_another_s_fetch_waits_for_a_bounded_time(
    backend: Backend, clock: Clock
) -> None:
    policy = CachePolicy(wait_s=0.01)
    cache = CachedBackend(backend, policy, now_s=clock)
    may_answer = threading.Event()

    def slow(reference: Reference) -> Secret:
        assert may_answer.wait(10)
        return Secret("one")

    backend.answers = slow
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(cache.fetch, A)
        assert backend.asking.acquire(timeout=10)
        with pytest.raises(BackendAway, match=r"has not answered in 0\.01 s"):
            cache.fetch(A)
        may_answer.set()
        assert first.result(10) == Secret("one")


def test_the_least_used_value_is_forgotten_first(cache: CachedBackend, backend: Backend) -> None:
    refs = [parse_reference(f"vault:secret/{n}#k") for n in range(4)]
    for ref in refs[:3]:
        cache.fetch(ref)
    cache.fetch(refs[0])
    cache.fetch(refs[3])
    backend.asked.clear()
    for ref in (refs[0], refs[2], refs[3]):
        cache.fetch(ref)
    assert backend.asked == []
    cache.fetch(refs[1])
    assert backend.asked == [refs[1]]


def test_after_close_nothing_is_fetched_in_the_background(
    cache: CachedBackend, backend: Backend, clock: Clock
) -> None:
    cache.fetch(A)
    cache.close()
    clock.now_s += 240
    assert cache.fetch(A) == Secret("one")
    assert cache._thread is None
    assert backend.asked == [A]


def test_what_was_just_changed_is_asked_for_the_next_time(
    cache: CachedBackend, backend: Backend
) -> None:
    assert [cache.fetch(A), cache.fetch(B)] == [Secret("one")] * 2
    backend.says("two")
    cache.expire(A)
    assert [cache.fetch(A), cache.fetch(B)] == [Secret("two"), Secret("one")]
    assert backend.asked == [A, B, A]


def test_a_fetch_from_before_a_change_does_not_hide_the_new_value(
    cache: CachedBackend, backend: Backend
) -> None:
    go = threading.Event()

    def slow(reference: Reference) -> Secret:
        go.wait(30)
        return Secret("before")

    backend.answers = slow
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(cache.fetch, A)
        backend.asking.acquire(timeout=30)
        # It was answered before the change, and the answer is still on its way.
        backend.says("after")
        cache.expire(A)
        assert cache.fetch(A) == Secret("after")
        go.set()
        assert early.result(30) == Secret("before")
    assert cache.fetch(A) == Secret("after")
    assert len(backend.asked) == 2


def test_a_changed_value_that_cannot_be_asked_for_counts_as_before(
    cache: CachedBackend, backend: Backend, clock: Clock
) -> None:
    cache.fetch(A)
    backend.is_away()
    cache.expire(A)
    assert cache.fetch(A) == Secret("one")
    # A change is a sign of life: it is asked again at once, and not only after its wait.
    asked = len(backend.asked)
    backend.says("two")
    cache.expire(A)
    assert cache.fetch(A) == Secret("two")
    assert len(backend.asked) == asked + 1
