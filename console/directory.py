"""Which connections there are, as the console follows the connections topic."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from console.visit import ConnectionFacts, SecretFacts
from producer.connections.ledger import Ledger
from schemas.connection import SecretReference


class FollowedDirectory:
    """A follower's listener, and what pages ask. What was read stays while Kafka is away."""

    def __init__(self, environment: str, now_s: Callable[[], float] = time.time) -> None:
        self._environment = environment
        self._now_s = now_s
        self._lock = threading.Lock()
        self._reading = Ledger(environment)
        self._known: Ledger | None = None

    # What the follower tells, on its thread.

    def began(self, anew: bool) -> None:
        """See `follower.Listener`."""
        with self._lock:
            self._reading = Ledger(self._environment)

    def came(self, key: bytes | None, value: bytes | None, offset: int) -> None:
        """See `follower.Listener`."""
        with self._lock:
            self._reading.apply(key, value, offset)

    def ended(self, offset: int) -> None:
        """See `follower.Listener`."""
        with self._lock:
            self._known = self._reading

    # What pages ask.

    def connections(self, environment: str) -> Sequence[ConnectionFacts] | None:
        """See `Directory`."""
        with self._lock:
            if self._known is None or environment != self._environment:
                return None
            return [self._facts(self._known, name) for name in sorted(self._known.ids())]

    def _facts(self, ledger: Ledger, name: str) -> ConnectionFacts:
        record, standing = ledger.record(name), ledger.standing(name)
        state = standing.value if standing is not None else "revoked"
        if record is None:
            return ConnectionFacts(connection=name, tenant="", provider="", state=state)
        revoked = ledger.revoked_secrets(name)
        now_s = self._now_s()
        return ConnectionFacts(
            connection=name,
            tenant=record.connection.tenant,
            provider=record.connection.provider,
            state=state,
            changed_at_us=record.changed_at_us,
            secrets=[_secret(one, revoked, now_s) for one in record.connection.secrets],
        )


def _secret(one: SecretReference, revoked: frozenset[str], now_s: float) -> SecretFacts:
    state = "active" if one.active(now_s) else "expired"
    if one.not_before_s is not None and now_s < one.not_before_s:
        state = "not yet"
    return SecretFacts(
        name=one.name,
        state="revoked" if one.name in revoked else state,
        not_before_s=one.not_before_s,
        not_after_s=one.not_after_s,
    )
