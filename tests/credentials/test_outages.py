"""The cache in front of a backend in trouble: what one secret has costs no other its refresh."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from credentials.cache import CachedBackend, CachePolicy
from credentials.environment import EnvironmentBackend
from credentials.reference import Reference, parse_reference
from credentials.resolver import Resolver
from credentials.secret import Secret
from credentials.value import away
from schemas.errors import BackendAway

BAD = [parse_reference(f"vault:bad/{n}#k") for n in range(3)]
GOOD = [parse_reference(f"vault:good/{n}#k") for n in range(5)]
ROUND_S = 30.0


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Backend:
    """Answers at once as `answer` says; counts what it is asked at the same time."""

    scheme = "vault"

    def __init__(self, answer: Callable[[Reference], Secret]) -> None:
        self.answer = answer
        self.asked: list[Reference] = []
        self.asking = 0
        self.most = 0
        self._lock = threading.Lock()

    def fetch(self, reference: Reference) -> Secret:
        with self._lock:
            self.asked.append(reference)
            self.asking += 1
            self.most = max(self.most, self.asking)
        try:
            return self.answer(reference)
        finally:
            with self._lock:
                self.asking -= 1


def settle(cache: CachedBackend) -> None:
    while cache._flights or cache._due:
        for flight in list(cache._flights.values()):
            assert flight.landed.wait(10)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def rounds(
    cache: CachedBackend, clock: Clock, wanted: list[Reference], hours: float
) -> Iterator[dict[Reference, bool]]:
    """As the key rings ask, one after the other each 30 s; what each round could be had."""
    for _ in range(int(hours * 3600 / ROUND_S)):
        clock.now_s += ROUND_S
        had = {}
        for reference in wanted:
            clock.now_s += 0.001
            try:
                cache.fetch(reference)
                had[reference] = True
            except BackendAway:
                had[reference] = False
            settle(cache)
        yield had


@pytest.mark.parametrize("bad", [1, 3])
def test_secrets_that_a_backend_fails_at_do_not_stop_the_others_from_being_refreshed(
    bad: int, clock: Clock
) -> None:
    """Such as one mount of a Vault that answers 500 while all others are well."""
    failing = False

    def answer(reference: Reference) -> Secret:
        if reference in BAD and failing:
            raise away(reference, "internal error")
        return Secret("one")

    cache = CachedBackend(Backend(answer), CachePolicy(), now_s=clock)
    wanted = [*BAD[:bad], *GOOD]
    assert all(next(rounds(cache, clock, wanted, 1)).values())
    failing = True
    for had in rounds(cache, clock, wanted, 2):
        assert all(had[reference] for reference in GOOD)
    oldest_s = min(cache._entries[reference].fetched_s for reference in GOOD)
    assert clock.now_s - oldest_s < 600


def test_a_backend_that_is_away_is_asked_by_one_and_holds_up_nobody_else(clock: Clock) -> None:
    gone = False
    may_fail = threading.Event()

    def answer(reference: Reference) -> Secret:
        if gone:
            assert may_fail.wait(10)
            raise away(reference, "nobody is there")
        return Secret("one")

    backend = Backend(answer)
    cache = CachedBackend(backend, CachePolicy(), now_s=clock)
    for reference in GOOD:
        cache.fetch(reference)
    gone = True
    may_fail.set()
    clock.now_s += 300
    cache.fetch(GOOD[0])
    settle(cache)
    may_fail.clear()
    backend.most = 0
    clock.now_s += 5
    with ThreadPoolExecutor(len(GOOD)) as pool:
        first = pool.submit(cache.fetch, GOOD[4])
        while not backend.asking:
            assert not first.done()
        # However long it takes to fail, the others have their last good values meanwhile.
        clock.now_s += 9
        others = [pool.submit(cache.fetch, reference) for reference in GOOD[:4]]
        assert [other.result(10) for other in others] == [Secret("one")] * 4
        assert cache.fetch(GOOD[4]) == Secret("one")
        may_fail.set()
        assert first.result(10) == Secret("one")
    assert backend.most == 1


def test_what_waits_for_a_background_fetch_of_a_place_that_went_away_is_not_asked_for(
    clock: Clock,
) -> None:
    gone = False
    may_fail = threading.Event()

    def answer(reference: Reference) -> Secret:
        if gone:
            assert may_fail.wait(10)
            raise away(reference, "nobody is there")
        return Secret("one")

    backend = Backend(answer)
    cache = CachedBackend(backend, CachePolicy(), now_s=clock)
    for reference in GOOD:
        cache.fetch(reference)
    backend.asked.clear()
    gone = True
    clock.now_s += 240
    for reference in GOOD:
        cache.fetch(reference)
    may_fail.set()
    settle(cache)
    # The first, and another that shows that it is not the first alone.
    assert len(backend.asked) == 2


def test_a_client_s_own_fault_is_a_silence_of_its_backend_and_not_in_its_words(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    broken = False

    def answer(reference: Reference) -> Secret:
        if broken:
            raise AttributeError("hunter2 has no attribute")
        return Secret("one")

    cache = CachedBackend(Backend(answer), CachePolicy(), now_s=clock)
    cache.fetch(GOOD[0])
    broken = True
    clock.now_s += 300
    assert cache.fetch(GOOD[0]) == Secret("one")
    clock.now_s += 3300
    with pytest.raises(BackendAway, match=r"client failed \(AttributeError at test_outages"):
        cache.fetch(GOOD[0])
    assert "hunter2" not in caplog.text
    assert "AttributeError" in str([vars(record) for record in caplog.records])


def test_a_silence_is_measured_as_long_as_somebody_waits_for_its_end(clock: Clock) -> None:
    failing: list[Reference] = []

    def answer(reference: Reference) -> Secret:
        if reference in failing:
            raise away(reference, "nobody is there")
        return Secret("one")

    cache = CachedBackend(Backend(answer), CachePolicy(), now_s=clock)
    cache.fetch(GOOD[0])
    cache.fetch(BAD[0])
    assert cache.silent_s() == 0
    failing += [GOOD[0], BAD[0]]
    clock.now_s += 300
    for _ in range(20):
        cache.fetch(GOOD[0])
        settle(cache)
        clock.now_s += 30
    assert cache.silent_s() == 600
    # The place is back, and one secret of it is not: that is a silence, too.
    failing.remove(GOOD[0])
    for _ in range(4):
        cache.fetch(BAD[0])
        cache.fetch(GOOD[0])
        settle(cache)
        clock.now_s += 30
    assert cache.silent_s() == 720
    # Its connection was removed.
    for _ in range(30):
        cache.fetch(GOOD[0])
        settle(cache)
        clock.now_s += 30
    assert cache.silent_s() == 0


def test_a_resolver_tells_the_silence_of_those_that_may_be_away(clock: Clock) -> None:
    def answer(reference: Reference) -> Secret:
        raise away(reference, "nobody is there")

    remote = CachedBackend(Backend(answer), CachePolicy(), now_s=clock)
    resolver = Resolver([EnvironmentBackend({}), remote])
    assert resolver.silent_s() == {"vault": 0}
    with pytest.raises(BackendAway):
        resolver.resolve(str(BAD[0]))
    clock.now_s += 7
    assert resolver.silent_s() == {"vault": 7}
