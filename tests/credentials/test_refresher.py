"""Key rings follow their backends, and never lose a key to a moment's trouble."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from credentials.file import FileBackend
from credentials.key_ring import KeyRing
from credentials.refresher import RingRefresher, WatchedRing
from credentials.resolver import Resolver
from credentials.secret import Secret
from schemas.connection import SecretReference
from schemas.errors import BackendAway, SecretError, SecretFormatError, SecretUnavailable


class Store:
    """References to values or errors; how often each was asked for."""

    def __init__(self, **values: str | SecretError) -> None:
        self.values = values
        self.asked = 0

    def resolve(self, ref: str) -> Secret:
        self.asked += 1
        found = self.values[ref.removeprefix("env:")]
        if isinstance(found, SecretError):
            raise found
        return Secret(found)


def prepare(value: str) -> object:
    if value == "unfit":
        raise SecretFormatError("it must be base64")
    return value.encode()


def reference(name: str, ref: str) -> SecretReference:
    return SecretReference(name=name, ref=ref if ":" in ref else f"env:{ref}")


class Table:
    """The rings of some connections, as a gateway would hold them."""

    def __init__(self, store: Store, **rings: tuple[SecretReference, ...]) -> None:
        self.rings = {
            name: KeyRing.load(refs, store.resolve, prepare) for name, refs in rings.items()
        }
        self.swaps: list[str] = []
        self.swapped = threading.Event()
        self.refresher = RingRefresher(
            resolve=store.resolve,
            rings=lambda: [WatchedRing(*item, prepare) for item in self.rings.items()],
            swap=self.swap,
            interval_s=3600,
            confirm_s=0,
            pause_s=0,
        )

    def swap(self, connection_id: str, old: KeyRing, new: KeyRing) -> None:
        assert self.rings[connection_id] is old
        self.rings[connection_id] = new
        self.swaps.append(connection_id)
        self.swapped.set()

    def keys(self, connection_id: str) -> dict[str, object]:
        return {key.name: key.material for key in self.rings[connection_id].active(0)}


def two(store: Store) -> Table:
    return Table(
        store, acme=(reference("old", "a"), reference("new", "b")), other=(reference("x", "c"),)
    )


def test_what_has_not_changed_is_not_swapped() -> None:
    table = two(Store(a="1", b="2", c="3"))
    before = dict(table.rings)
    assert table.refresher.refresh() == 0
    assert table.swaps == []
    assert all(table.rings[name] is before[name] for name in before)


def test_a_changed_secret_swaps_its_connection_s_ring_alone() -> None:
    store = Store(a="1", b="2", c="3")
    table = two(store)
    store.values["b"] = "22"
    assert table.refresher.refresh() == 1
    assert table.swaps == ["acme"]
    assert table.keys("acme") == {"old": b"1", "new": b"22"}
    assert table.refresher.refresh() == 0


@pytest.mark.parametrize(
    "error",
    [
        SecretUnavailable("it is deleted"),
        BackendAway("nobody is there, and the last good value is too old"),
        "unfit",
    ],
)
def test_a_key_whose_secret_cannot_be_had_counts_no_longer_and_comes_back(
    error: SecretError | str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(a="1", b="2", c="3")
    table = two(store)
    store.values["a"] = error
    assert table.refresher.refresh() == 1
    assert table.keys("acme") == {"new": b"2"}
    for _ in range(3):
        assert table.refresher.refresh() == 0
    said = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(said) == 1
    assert said[0].data["connection"] == "acme"
    assert said[0].data["secret_name"] == "old"
    store.values["a"] = "1"
    assert table.refresher.refresh() == 1
    assert table.keys("acme") == {"old": b"1", "new": b"2"}


def test_a_moment_s_trouble_costs_no_key() -> None:
    store = Store(a="1", b="2", c="3")
    table = two(store)
    answers = iter([SecretUnavailable("it is empty"), None])

    def resolve(ref: str) -> Secret:
        error = next(answers, None) if ref == "env:a" else None
        if error is not None:
            raise error
        return store.resolve(ref)

    table.refresher._resolve = resolve
    assert table.refresher.refresh() == 0
    assert table.keys("acme") == {"old": b"1", "new": b"2"}


def test_a_connection_that_went_away_meanwhile_is_let_go() -> None:
    store = Store(a="1", b="2", c="3")
    table = two(store)

    def resolve(ref: str) -> Secret:
        table.rings.pop("acme", None)
        raise SecretUnavailable("it is deleted")

    table.refresher._resolve = resolve
    table.rings = dict(table.rings)
    rings = list(table.rings.items())
    table.refresher._rings = lambda: [
        WatchedRing(*item, prepare) for item in (rings if "acme" in table.rings else [])
    ]
    assert table.refresher.refresh() == 0


def test_kubernetes_way_of_replacing_a_mounted_file_is_noticed(tmp_path: Path) -> None:
    """The kubelet writes a new folder beside the old one and swaps one symbolic link."""
    for folder, value in (("..1", "one"), ("..2", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "key").write_text(value)
        (tmp_path / folder / "key").chmod(0o600)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "key").symlink_to("..data/key")
    resolver = Resolver([FileBackend()])
    ref = reference("k", f"file:{tmp_path}/key")
    ring = KeyRing.load((ref,), resolver.resolve, prepare)
    assert ring.refreshed(resolver.resolve, prepare) is ring
    (tmp_path / "..data_tmp").symlink_to("..2")
    os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
    after = ring.refreshed(resolver.resolve, prepare)
    assert [key.material for key in after.active(0)] == [b"two"]
    # The old ring, which a request may be reading, is as it was.
    assert [key.material for key in ring.active(0)] == [b"one"]


def test_it_runs_by_itself_until_it_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    store = Store(a="1", b="2", c="3")
    table = two(store)
    table.refresher.start()
    try:
        # A fault of a round ends that round alone.
        table.refresher._rings, rings = (lambda: 1 / 0), table.refresher._rings  # type: ignore
        table.refresher.soon()
        while "could not be refreshed" not in caplog.text:
            assert not table.swapped.wait(0.001)
        table.refresher._rings = rings
        store.values["c"] = "33"
        table.refresher.soon()
        assert table.swapped.wait(10)
        assert table.keys("other") == {"x": b"33"}
    finally:
        table.refresher.close()
    assert table.refresher._thread is not None
    assert not table.refresher._thread.is_alive()


def test_a_connection_that_has_lost_its_last_key_is_looked_at_sooner_than_the_others() -> None:
    store = Store(a="1", b="2", c="3")
    table = two(store)
    store.values.update(a=SecretUnavailable("it is deleted"), c=SecretUnavailable("it is deleted"))
    assert table.refresher.refresh() == 2
    asked = store.asked
    for _ in range(3):
        assert table.refresher.look_again() == 0
    # `acme` goes on with its other key and waits for the next round.
    assert store.asked == asked + 3
    store.values.update(a="1", c="3")
    assert table.refresher.look_again() == 1
    assert table.keys("other") == {"x": b"3"}
    assert table.refresher.look_again() == 0
    assert table.keys("acme") == {"new": b"2"}
    assert store.asked == asked + 4


def test_it_is_looked_at_further_and_further_apart_and_in_each_round() -> None:
    store = Store(c=SecretUnavailable("it is deleted"))
    now_s, waits_s = 0.0, []

    class Wake(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal now_s
            assert timeout is not None
            now_s += timeout
            waits_s.append(timeout)
            if now_s >= 150:
                store.values["c"] = "3"
            if now_s >= 200:
                refresher.close()
            return False

    ring = KeyRing.load((reference("x", "c"),), lambda ref: Secret("3"), prepare)

    def swap(name: str, old: KeyRing, new: KeyRing) -> None:
        nonlocal ring
        assert ring is old
        ring = new

    refresher = RingRefresher(
        resolve=store.resolve,
        rings=lambda: [WatchedRing("acme", ring, prepare)],
        swap=swap,
        interval_s=60,
        confirm_s=0,
        pause_s=0,
        clock_s=lambda: now_s,
    )
    refresher._wake = Wake()
    refresher._run()
    lost, again, found, rounds = [60], [1, 2, 4, 8, 15, 15], [15, 15, 15], [30, 60]
    assert waits_s == [*lost, *again, *found, *rounds]
    assert not ring.lost


def test_times_still_count_in_a_refreshed_ring() -> None:
    store = Store(a="1", b="2")
    refs = (
        SecretReference(name="old", ref="env:a", not_after_s=100),
        SecretReference(name="new", ref="env:b", not_before_s=50),
    )
    ring = KeyRing.load(refs, store.resolve, prepare)
    store.values["a"] = "11"
    ring = ring.refreshed(store.resolve, prepare)
    assert [key.name for key in ring.active(49)] == ["old"]
    assert [key.material for key in ring.active(99)] == [b"11", b"2"]
    assert [key.name for key in ring.active(100)] == ["new"]


def test_a_ring_that_cannot_be_looked_at_does_not_stop_the_look_at_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store(a="1", b="2", c="3")
    table = two(store)

    def resolve(ref: str) -> Secret:
        if broken and ref == "env:a":
            raise OSError("hunter2 is stale")
        return store.resolve(ref)

    broken = True
    table.refresher._resolve = resolve
    store.values["c"] = "33"
    for _ in range(3):
        table.refresher.refresh()
    assert table.keys("other") == {"x": b"33"}
    assert table.keys("acme") == {"old": b"1", "new": b"2"}
    (said,) = [vars(record) for record in caplog.records if record.levelno == logging.ERROR]
    assert said["data"] == {"connection": "acme", "error": "OSError"}
    assert "hunter2" not in str([vars(record) for record in caplog.records])
    broken = False
    store.values["a"] = "11"
    table.refresher.refresh()
    assert table.keys("acme") == {"old": b"11", "new": b"2"}


def test_a_secret_that_has_ended_is_not_looked_at_any_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As the docs say it: it is retired, and then deleted at its backend."""
    store = Store(a="1", b="2")
    old = SecretReference(name="old", ref="env:a", not_after_s=100)
    table = Table(store, acme=(old, reference("new", "b")))
    table.refresher._unix_s = lambda: 99.0
    store.values["a"] = "11"
    table.refresher.refresh()
    assert table.keys("acme") == {"old": b"11", "new": b"2"}
    table.refresher._unix_s = lambda: 100.0
    store.values["a"] = SecretUnavailable("it is deleted")
    store.asked = 0
    for _ in range(3):
        assert table.refresher.refresh() == 0
    assert store.asked == 3
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
