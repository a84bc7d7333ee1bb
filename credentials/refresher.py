"""Key rings follow their backends: resolved anew at an interval, in a thread of their own.

The receive path never waits for it: it reads a ring that is whole, before a change or after it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from credentials.key_ring import KeyRing
from credentials.secret import Secret
from schemas.connection import SecretReference
from schemas.errors import BackendAway, SecretError

_log = logging.getLogger("hookline.credentials")


class WatchedRing(NamedTuple):
    """A connection's ring as it is now, and how its provider prepares a secret."""

    connection_id: str
    ring: KeyRing
    prepare: Callable[[str], object]


class RingRefresher:
    """Looks at every ring each `interval_s` and swaps those whose secrets have changed.

    A secret that cannot be had is looked at once more after `confirm_s` (a file may be in the
    middle of being written) before its key is left out. A connection that has lost all its keys is
    served no more: those alone are looked at again after `again_s`, then up to `most_again_s`
    apart. `start` and `close` are for a process; `refresh` is one round, in the caller's thread.
    """

    def __init__(
        self,
        *,
        resolve: Callable[[str], Secret],
        rings: Callable[[], Iterable[WatchedRing]],
        swap: Callable[[str, KeyRing, KeyRing], None],
        interval_s: float,
        confirm_s: float = 1.0,
        pause_s: float = 0.001,
        again_s: float = 1.0,
        most_again_s: float = 15.0,
        unix_s: Callable[[], float] = time.time,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`swap(connection_id, old, new)` is called in the refresher's thread.

        It must take `new` only if the connection's ring still is `old`: the connection itself may
        have been changed since, and its later ring must stay. `pause_s` is left to others before
        each ring: the receive path shares the interpreter.
        """
        self._resolve = resolve
        self._rings = rings
        self._swap = swap
        self._interval_s = interval_s
        self._confirm_s = confirm_s
        self._pause_s = pause_s
        self._again_s = again_s
        self._most_again_s = most_again_s
        self._unix_s = unix_s
        self._clock_s = clock_s
        # Connections that a look has left without any key.
        self._bare: set[str] = set()
        # (connection, secret's name, whether for its backend's silence) that are out, so that each
        # is said once.
        self._lost: set[tuple[str, str, bool]] = set()
        # Connections that could not be looked at, for the same reason.
        self._faulty: set[str] = set()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; the first round is one interval from now."""
        self._thread = threading.Thread(target=self._run, name="hookline-key-rings", daemon=True)
        self._thread.start()

    def soon(self) -> None:
        """Begin the next round now."""
        self._wake.set()

    def close(self, timeout_s: float = 5.0) -> None:
        """End; a round that waits for a backend is not waited for any longer."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def refresh(self) -> int:
        """One round; how many rings were swapped."""
        swapped = 0
        doubtful: list[WatchedRing] = []
        rings = list(self._rings())
        lost_before, self._lost = self._lost, set()
        names = {watched.connection_id for watched in rings}
        self._faulty &= names
        self._bare &= names
        for watched in rings:
            if self._stop.wait(self._pause_s):
                return swapped
            unsure = False

            def note(reference: SecretReference, error: SecretError) -> bool:
                nonlocal unsure
                unsure = True
                return False

            swapped += self._look(watched, note)
            if unsure:
                doubtful.append(watched)
        if not doubtful:
            return swapped
        if self._stop.wait(self._confirm_s):
            return swapped
        now = {watched.connection_id: watched for watched in self._rings()}
        for watched in doubtful:
            again = now.get(watched.connection_id)
            if again is not None:
                swapped += self._look(again, self._out(again.connection_id, lost_before))
        return swapped

    def look_again(self) -> int:
        """Look at the rings without any key; how many were swapped."""
        swapped = 0
        bare = [watched for watched in self._rings() if watched.connection_id in self._bare]
        self._bare = {watched.connection_id for watched in bare}
        for watched in bare:
            if self._stop.wait(self._pause_s):
                return swapped
            swapped += self._look(watched, self._out(watched.connection_id, self._lost))
        return swapped

    def _look(
        self, watched: WatchedRing, lost: Callable[[SecretReference, SecretError], bool]
    ) -> int:
        name = watched.connection_id
        try:
            ring = watched.ring.refreshed(self._resolve, watched.prepare, lost, self._unix_s())
        # A fault of one backend or provider must not keep the others' secrets from being looked at.
        # Its text may hold anything.
        except Exception as error:
            if name not in self._faulty:
                self._faulty.add(name)
                _log.error(
                    "a connection's secrets cannot be looked at; its keys count as they are",
                    extra={"data": {"connection": name, "error": type(error).__name__}},
                )
            return 0
        self._faulty.discard(name)
        (self._bare.add if ring.lost else self._bare.discard)(name)
        if ring is watched.ring:
            return 0
        self._swap(name, watched.ring, ring)
        _log.info(
            "a connection's secrets have changed; its new keys count from now on",
            extra={"data": {"connection": name}},
        )
        return 1

    def _out(
        self, connection_id: str, before: set[tuple[str, str, bool]]
    ) -> Callable[[SecretReference, SecretError], bool]:
        def lost(reference: SecretReference, error: SecretError) -> bool:
            silent = isinstance(error, BackendAway)
            key = (connection_id, reference.name, silent)
            self._lost.add(key)
            if key not in before:
                _log.error(
                    "a secret's backend is silent for too long; what only its key could verify is "
                    "answered 503 until it is there"
                    if silent
                    else "a secret cannot be had; its key counts no longer until it can",
                    extra={
                        "data": {
                            "connection": connection_id,
                            "secret_name": reference.name,
                            "reason": str(error),
                        }
                    },
                )
            return True

        return lost

    def _run(self) -> None:
        round_at_s = self._clock_s() + self._interval_s
        again_s = self._again_s
        while True:
            left_s = max(0.0, round_at_s - self._clock_s())
            woken = self._wake.wait(min(left_s, again_s) if self._bare else left_s)
            self._wake.clear()
            if self._stop.is_set():
                return
            whole = woken or self._clock_s() >= round_at_s
            try:
                if whole:
                    self.refresh()
                else:
                    self.look_again()
            except Exception:
                # The rings stay as they are; the next round tries again.
                _log.exception("the key rings could not be refreshed")
            if whole:
                round_at_s = self._clock_s() + self._interval_s
            elif self._bare:
                again_s = min(2 * again_s, self._most_again_s)
            if not self._bare:
                again_s = self._again_s
