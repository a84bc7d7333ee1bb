"""From a connection to the table that the receive path reads: its secrets are resolved here.

What takes something away counts at once, on the caller's thread; what adds something is resolved
by workers, so a slow secret backend holds up nothing but what it was asked for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from credentials.key_ring import KeyRing
from credentials.refresher import WatchedRing
from credentials.secret import Secret
from producer.gateway.connections import ConnectionTable, Entry
from producer.providers.provider import Provider
from producer.providers.registry import build
from schemas.connection import Connection, SecretReference
from schemas.errors import BackendAway, ConfigurationError, SecretError

log = logging.getLogger("hookline.connections")

WORKERS: Final = 8
RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 60.0
#: The longest wait for a connection that has no key at all: its senders are told to try again.
MAX_RETRY_UNSERVED_S: Final = 15.0

_NONE: Final = KeyRing([])


class _Wanted:
    """One connection as the topic wants it served, and the keys that are there for it."""

    def __init__(
        self,
        connection: Connection,
        provider: Provider,
        ring: KeyRing,
        unix_s: Callable[[], float],
    ) -> None:
        self._unix_s = unix_s
        self.connection = connection
        self.provider = provider
        self.ring = ring
        self.tried = not self.missing
        self.problems: dict[str, str] = {}
        #: The names of the missing ones that their backends, or we, have refused.
        self.refused: set[str] = set()
        self.retry_at_s: float | None = None
        self.backoff_s = RETRY_S

    @property
    def missing(self) -> tuple[SecretReference, ...]:
        """What it has no key of, but for what has ended, which nobody waits for."""
        return _missing(self.connection, self.ring, self._unix_s())

    @property
    def waiting(self) -> tuple[SecretReference, ...]:
        """The missing ones that nothing is known of."""
        return tuple(one for one in self.missing if one.name not in self.refused)


class Serving:
    """Keeps a table in step with the connections that it is told of."""

    def __init__(
        self,
        *,
        environment: str,
        table: ConnectionTable,
        resolve: Callable[[str], Secret],
        clock_s: Callable[[], float] = time.monotonic,
        unix_s: Callable[[], float] = time.time,
    ) -> None:
        self._environment = environment
        self._table = table
        self._resolve = resolve
        self._clock_s = clock_s
        self._unix_s = unix_s
        self._lock = threading.Lock()
        self._wanted: dict[str, _Wanted] = {}
        self._workers = ThreadPoolExecutor(WORKERS, "hookline-secrets")
        self._closed = False

    def serve(self, connection: Connection) -> None:
        """Serve it so. Secrets that it no longer has count no more when this returns."""
        try:
            provider = build(connection.provider, connection.options)
        except ConfigurationError as error:
            self.hold(connection.id, str(error))
            return
        with self._lock:
            before = self._wanted.get(connection.id)
            ring = before.ring.narrowed(connection.secrets) if before is not None else _NONE
            if before is None or _same_scheme(before.connection, connection):
                wanted = _Wanted(connection, provider, ring, self._unix_s)
                self._show(connection, provider, ring, wanted.waiting)
            else:
                # Keys are made for a scheme, so none can go over; until the new ones are there,
                # the old scheme goes on with those secrets that are still wanted.
                wanted = _Wanted(connection, provider, _NONE, self._unix_s)
                if wanted.missing:
                    self._show(before.connection, before.provider, ring, wanted.waiting)
                else:
                    self._show(connection, provider, _NONE, ())
            self._wanted[connection.id] = wanted
            if not wanted.tried:
                self._submit(wanted)

    def drop(self, connection_id: str) -> None:
        """Serve it no more: it looks unknown when this returns."""
        with self._lock:
            self._wanted.pop(connection_id, None)
            self._table.take_out(connection_id)

    def hold(self, connection_id: str, reason: str) -> None:
        """It is there and cannot be served; its senders are told to try again."""
        with self._lock:
            self._wanted.pop(connection_id, None)
            self._table.hold(connection_id)
        log.error(
            "a connection is not served",
            extra={"data": {"connection": connection_id, "reason": reason}},
        )

    def untried(self) -> int:
        """How many connections have secrets that were never asked for yet."""
        with self._lock:
            return sum(not wanted.tried for wanted in self._wanted.values())

    def unserved(self) -> list[str]:
        """The active connections that have no secret at all now."""
        with self._lock:
            return [name for name, wanted in self._wanted.items() if not wanted.ring.names()]

    def secrets_end_s(self) -> dict[str, float]:
        """When (Unix s) the last secret of each connection ends; without those that have one that
        does not end."""
        with self._lock:
            connections = [wanted.connection for wanted in self._wanted.values()]
        found: dict[str, float] = {}
        for connection in connections:
            ends = [
                secret.not_after_s
                for secret in connection.secrets
                if secret.environment in ("", self._environment)
            ]
            known = [end_s for end_s in ends if end_s is not None]
            if ends and len(known) == len(ends):
                found[connection.id] = max(known)
        return found

    def rings(self) -> list[WatchedRing]:
        """Every ring as it is now, for a refresher."""
        with self._lock:
            return [
                WatchedRing(name, wanted.ring, wanted.provider.load_key)
                for name, wanted in self._wanted.items()
            ]

    def swap(self, connection_id: str, old: KeyRing, new: KeyRing) -> None:
        """Take a ring that was refreshed, unless the connection has another by now."""
        with self._lock:
            wanted = self._wanted.get(connection_id)
            if wanted is not None and wanted.ring is old:
                wanted.ring = new
                self._show(wanted.connection, wanted.provider, new, wanted.waiting)

    def retry_due(self) -> None:
        """Ask again for the secrets that were missing, each at its time."""
        now_s = self._clock_s()
        with self._lock:
            due = [w for w in self._wanted.values() if w.retry_at_s and now_s >= w.retry_at_s]
            for wanted in due:
                wanted.retry_at_s = None
                self._submit(wanted)

    def close(self) -> None:
        """Resolve nothing more."""
        with self._lock:
            self._closed = True
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _submit(self, wanted: _Wanted) -> None:
        # Under the lock: a record may still come while the gateway stops.
        if not self._closed:
            self._workers.submit(self._fetch, wanted)

    def _show(
        self,
        connection: Connection,
        provider: Provider,
        ring: KeyRing,
        waiting: tuple[SecretReference, ...],
    ) -> None:
        """Into the table with it; its senders wait while no key has come yet. Under the lock."""
        if ring.names() or not _missing(connection, ring, self._unix_s()):
            self._table.put(Entry(connection, provider, ring, waiting))
        else:
            self._table.hold(connection.id)

    def _fetch(self, wanted: _Wanted) -> None:
        """On a worker: resolve what is missing, one by one, as long as it is still wanted."""
        name = wanted.connection.id
        for reference in wanted.missing:
            ring, problem, refused = self._resolved(reference, wanted.provider)
            with self._lock:
                if self._wanted.get(name) is not wanted:
                    return
                (wanted.refused.add if refused else wanted.refused.discard)(reference.name)
                if ring is not None:
                    wanted.ring = wanted.ring.joined(ring)
                # Without a key the old scheme may be what is shown, and stays.
                if wanted.ring.names():
                    self._show(wanted.connection, wanted.provider, wanted.ring, wanted.waiting)
                said = wanted.problems.get(reference.name, "")
                wanted.problems[reference.name] = problem
            if problem and problem != said:
                _tell(wanted, problem)
        with self._lock:
            wanted.tried = True
            if wanted.missing:
                wanted.retry_at_s = self._clock_s() + wanted.backoff_s
                most_s = MAX_RETRY_S if wanted.ring.names() else MAX_RETRY_UNSERVED_S
                wanted.backoff_s = min(2 * wanted.backoff_s, most_s)

    def _resolved(
        self, reference: SecretReference, provider: Provider
    ) -> tuple[KeyRing | None, str, bool]:
        """The ring of one, or what is in its way and whether that is a refusal."""
        if reference.environment not in ("", self._environment):
            why = (
                f"secret {reference.name!r} is of environment {reference.environment}, this is "
                f"{self._environment}: give the connection a secret of {self._environment}"
            )
            return None, why, True
        try:
            return KeyRing.load((reference,), self._resolve, provider.load_key), "", False
        except SecretError as error:
            return None, str(error), not isinstance(error, BackendAway)
        # A backend's client may fail in ways that are not ours, with a text that holds anything.
        except Exception as error:
            why = f"secret {reference.name!r}: its backend failed ({type(error).__name__})"
            return None, why, False


def _tell(wanted: _Wanted, problem: str) -> None:
    accepted = wanted.ring.names()
    log.error(
        "a secret is missing; the connection goes on with its others, and this is tried again"
        if accepted
        else "a connection is not served until its secret is there, which is tried again",
        extra={
            "data": {
                "connection": wanted.connection.id,
                "reason": problem,
                "accepted": list(accepted),
            }
        },
    )


def _missing(connection: Connection, ring: KeyRing, now_s: float) -> tuple[SecretReference, ...]:
    return tuple(one for one in ring.lacking(connection.secrets) if not one.ended(now_s))


def _same_scheme(one: Connection, other: Connection) -> bool:
    return (one.provider, one.options) == (other.provider, other.options)
