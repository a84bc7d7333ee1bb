"""What is taken away counts at once; what is added never holds anything up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from credentials.key_ring import KeyRing
from credentials.secret import Secret
from producer.connections import serving as serving_module
from producer.connections.serving import Serving
from producer.gateway.connections import ConnectionTable
from schemas.connection import Connection, SecretReference
from schemas.errors import BackendAway, SecretUnavailable
from tests.connections.making import ENVIRONMENT, connection

BOTH = connection(refs={"old": "env:OLD", "new": "env:NEW"})


class Backend:
    """Gives every secret, but those that are blocked or missing."""

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.away: set[str] = set()
        self.blocked: dict[str, threading.Event] = {}
        self.asked: list[str] = []
        self.begun = threading.Event()

    def resolve(self, ref: str) -> Secret:
        self.asked.append(ref)
        self.begun.set()
        if ref in self.blocked:
            assert self.blocked[ref].wait(20)
        if ref in self.missing:
            raise SecretUnavailable(f"{ref} cannot be read: set it")
        if ref in self.away:
            raise BackendAway(f"{ref} cannot be read: nobody is there")
        return Secret(f"value of {ref}")

    def block(self, ref: str) -> threading.Event:
        self.blocked[ref] = threading.Event()
        return self.blocked[ref]


class Rig:
    def __init__(self) -> None:
        self.table = ConnectionTable(ENVIRONMENT)
        self.backend = Backend()
        self.now_s = 0.0
        self.serving = Serving(
            environment=ENVIRONMENT,
            table=self.table,
            resolve=self.backend.resolve,
            clock_s=lambda: self.now_s,
        )

    def names(self, name: str = "acme") -> list[str] | None:
        """The names of the keys that count, None if it is not served."""
        entry = self.table.find(name)
        return None if entry is None else [key.name for key in entry.keys.active(time.time())]

    def serve(self, wanted: Connection) -> None:
        self.serving.serve(wanted)
        until(lambda: self.serving.untried() == 0)


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


@contextmanager
def a_rig() -> Iterator[Rig]:
    rig = Rig()
    try:
        yield rig
    finally:
        for event in rig.backend.blocked.values():
            event.set()
        rig.serving.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    with a_rig() as made:
        yield made


def test_a_connection_is_served_once_its_secret_is_there_and_asks_to_wait_before(rig: Rig) -> None:
    free = rig.backend.block("env:OLD")
    rig.serving.serve(connection())
    assert rig.table.find("acme") is None
    assert rig.table.unsettled("acme")
    free.set()
    until(lambda: rig.names() == ["old"])
    assert not rig.table.unsettled("acme")


def test_a_slow_secret_holds_up_no_revocation(rig: Rig) -> None:
    rig.serve(connection("other"))
    rig.backend.block("env:SLOW")
    for n in range(2 * serving_module.WORKERS):
        rig.serving.serve(connection(f"slow-{n}", refs={"old": "env:SLOW"}))
    rig.serving.drop("other")
    assert rig.table.find("other") is None
    assert not rig.table.unsettled("other")


def test_a_secret_that_is_no_longer_named_is_out_at_once_while_another_is_fetched(
    rig: Rig,
) -> None:
    rig.serve(BOTH)
    assert rig.names() == ["old", "new"]
    rig.backend.block("env:NEXT")
    rig.serving.serve(connection(refs={"new": "env:NEW", "next": "env:NEXT"}))
    assert rig.names() == ["new"]


def test_a_secret_that_moves_is_another_secret(rig: Rig) -> None:
    rig.serve(connection())
    rig.backend.block("env:MOVED")
    rig.serving.serve(connection(refs={"old": "env:MOVED"}))
    assert rig.table.find("acme") is None
    assert rig.table.unsettled("acme")


def test_new_times_count_without_asking_the_backend(rig: Rig) -> None:
    rig.serve(BOTH)
    asked = len(rig.backend.asked)
    ended = replace(BOTH.secrets[0], not_after_s=time.time() - 1)
    rig.serve(replace(BOTH, secrets=(ended, BOTH.secrets[1])))
    assert rig.names() == ["new"]
    assert len(rig.backend.asked) == asked


def test_other_options_take_effect_with_new_keys_and_old_ones_serve_until_then(rig: Rig) -> None:
    rig.serve(BOTH)
    before = rig.table.find("acme")
    free = rig.backend.block("env:NEW")
    rig.serving.serve(replace(connection(refs={"new": "env:NEW"}), provider="stripe"))
    between = rig.table.find("acme")
    assert before is not None
    assert between is not None
    assert between.provider is before.provider
    assert rig.names() == ["new"]
    free.set()
    until(lambda: rig.table.find("acme") is not between)
    after = rig.table.find("acme")
    assert after is not None
    assert after.connection.provider == "stripe"


def test_a_missing_secret_leaves_the_others_and_comes_when_it_is_there(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.backend.missing.add("env:NEW")
    rig.serve(BOTH)
    assert rig.names() == ["old"]
    for _ in range(3):
        rig.now_s += serving_module.MAX_RETRY_S
        asked = rig.backend.asked.count("env:NEW")
        rig.serving.retry_due()
        until(lambda asked=asked: rig.backend.asked.count("env:NEW") > asked)
    told = [r for r in caplog.records if "a secret is missing" in r.message]
    assert len(told) == 1
    rig.backend.missing.clear()

    def there() -> bool:
        rig.now_s += serving_module.MAX_RETRY_S
        rig.serving.retry_due()
        return rig.names() == ["old", "new"]

    until(there)
    assert rig.backend.asked.count("env:OLD") == 1


def test_a_connection_without_any_key_is_tried_again_sooner_than_one_that_has_others(
    rig: Rig,
) -> None:
    rig.backend.missing.update(("env:NEW", "env:LATE"))
    rig.serve(BOTH)
    rig.serve(connection("late", refs={"old": "env:LATE"}))

    def workers_are_done() -> bool:
        return all(wanted.retry_at_s is not None for wanted in rig.serving._wanted.values())

    def pauses_s(ref: str) -> list[float]:
        """How long it is not asked for, seven times, by a clock of half seconds."""
        found: list[float] = []
        since_s, asked = rig.now_s, rig.backend.asked.count(ref)
        while len(found) < 7:
            rig.now_s += 0.5
            rig.serving.retry_due()
            until(workers_are_done)
            if rig.backend.asked.count(ref) > asked:
                asked = rig.backend.asked.count(ref)
                found.append(rig.now_s - since_s)
                since_s = rig.now_s
        return found

    assert pauses_s("env:LATE") == [1, 2, 4, 8, 15, 15, 15]
    assert pauses_s("env:NEW")[-1] == 60
    rig.backend.missing.clear()
    rig.now_s += serving_module.MAX_RETRY_UNSERVED_S
    rig.serving.retry_due()
    until(lambda: rig.names("late") == ["old"])


def test_the_last_good_keys_stay_when_a_later_change_cannot_be_resolved(rig: Rig) -> None:
    rig.serve(connection())
    rig.backend.missing.add("env:NEW")
    rig.serve(BOTH)
    assert rig.names() == ["old"]
    assert rig.serving.unserved() == []


def test_a_backend_that_fails_in_its_own_way_is_a_missing_secret(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(ref: str) -> Secret:
        raise RuntimeError("hunter2 in the text")

    rig.serving._resolve = broken
    rig.serve(connection())
    assert rig.serving.unserved() == ["acme"]
    assert "RuntimeError" in str([vars(r) for r in caplog.records])
    assert "hunter2" not in caplog.text


def test_a_secret_of_another_environment_is_refused_with_both_names(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    alien = SecretReference(name="old", ref="env:OLD", environment="staging")
    rig.serve(replace(connection(), secrets=(alien,)))
    assert rig.names() is None
    assert rig.backend.asked == []
    (told,) = [vars(r)["data"]["reason"] for r in caplog.records if "data" in vars(r)]
    assert "staging" in told
    assert ENVIRONMENT in told


def test_what_comes_late_changes_nothing_that_was_decided_since(rig: Rig) -> None:
    free = rig.backend.block("env:OLD")
    rig.serving.serve(connection())
    assert rig.backend.begun.wait(10)
    rig.serving.drop("acme")
    rig.serving.serve(connection(refs={"new": "env:NEW"}))
    until(lambda: rig.names() == ["new"])
    free.set()
    rig.serving.close()
    rig.serving._workers.shutdown(wait=True)
    assert rig.names() == ["new"]


def test_without_any_secret_left_it_refuses_and_does_not_wait(rig: Rig) -> None:
    rig.serve(connection())
    rig.serve(replace(connection(), secrets=()))
    assert rig.names() == []


def test_wrong_options_hold_one_connection_and_say_why(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.serve(connection("good"))
    rig.serve(connection(options={"no_such": 1}))
    assert rig.table.unsettled("acme")
    assert rig.names("good") == ["old"]
    assert "no_such" in str([vars(r) for r in caplog.records])


def test_a_refreshed_ring_is_taken_unless_the_connection_has_another_by_now(rig: Rig) -> None:
    rig.serve(BOTH)
    (watched,) = rig.serving.rings()
    rig.serve(connection())
    rig.serving.swap("acme", watched.ring, KeyRing([]))
    assert rig.names() == ["old"]
    (watched,) = rig.serving.rings()
    rig.serving.swap("acme", watched.ring, watched.ring.narrowed(()))
    assert rig.names() is None


def test_while_a_secret_is_asked_for_or_its_backend_is_silent_it_may_be_what_has_signed(
    rig: Rig,
) -> None:
    rig.serve(connection())
    free = rig.backend.block("env:NEW")
    rig.backend.away.add("env:NEW")
    rig.serving.serve(BOTH)

    def unsure() -> bool:
        entry = rig.table.find("acme")
        assert entry is not None
        return entry.unsure(time.time())

    assert unsure()
    free.set()
    until(lambda: rig.serving.untried() == 0)
    assert unsure()
    # A refusal is a word.
    rig.backend.away.clear()
    rig.backend.missing.add("env:NEW")

    def refused() -> bool:
        rig.now_s += serving_module.MAX_RETRY_S
        rig.serving.retry_due()
        return not unsure()

    until(refused)
    rig.backend.missing.clear()

    def there() -> bool:
        rig.now_s += serving_module.MAX_RETRY_S
        rig.serving.retry_due()
        return rig.names() == ["old", "new"]

    until(there)
    assert not unsure()


def test_a_secret_that_has_ended_is_not_waited_for(rig: Rig) -> None:
    """Such as the last one of a connection, retired and then deleted at its backend."""
    ended = replace(connection().secrets[0], not_after_s=time.time() - 1)
    rig.backend.missing.add("env:OLD")
    rig.serve(replace(connection(), secrets=(ended,)))
    assert rig.names() == []
    assert not rig.table.unsettled("acme")


def test_what_comes_behind_the_end_is_let_be(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """A record that is read while the gateway stops."""
    rig.backend.missing.add("env:OLD")
    rig.serve(connection())
    rig.serving.close()
    rig.serving.serve(BOTH)
    rig.now_s += serving_module.MAX_RETRY_S
    rig.serving.retry_due()
    assert rig.backend.asked == ["env:OLD"]


def test_a_secret_that_has_ended_is_not_asked_for_any_more(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """As the docs say it: it is retired, and then deleted at its backend."""
    rig.backend.missing.add("env:OLD")
    ended = replace(BOTH.secrets[0], not_after_s=time.time() - 1)
    rig.serve(replace(BOTH, secrets=(ended, BOTH.secrets[1])))
    assert rig.names() == ["new"]
    rig.now_s += serving_module.MAX_RETRY_S
    rig.serving.retry_due()
    assert rig.backend.asked == ["env:NEW"]
    assert not caplog.records
    # Its time is moved: it counts once more.
    rig.backend.missing.clear()
    rig.serve(BOTH)
    assert set(rig.names() or ()) == {"old", "new"}
