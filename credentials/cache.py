"""The cache in front of a remote backend: asked seldom, never by two at once for the same secret.

What the backend says counts at once: a secret that it refuses or no longer has is forgotten, which
is a revocation. Only while it gives no answer at all does the last good value go on counting, and
only for a bounded time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from credentials.reference import Reference
from credentials.resolver import SecretBackend
from credentials.secret import Secret
from credentials.value import away
from schemas.errors import BackendAway, SecretError

_log = logging.getLogger("hookline.credentials")
#: Places (a Vault, a region, a key vault) whose absence is remembered; the oldest is forgotten.
_MAX_PLACES: Final = 256


class CachePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How long a value counts, and what happens while the backend is away."""

    ttl_s: float = 300.0
    #: From so long before its end on, a value that is asked for is fetched anew in the background.
    refresh_ahead_s: float = 60.0
    #: How old the last good value may become while the backend is away.
    keep_s: float = 3_600.0
    #: After a fetch without an answer the place is left alone for so long.
    retry_s: float = 5.0
    #: How long one caller waits for the fetch of another.
    wait_s: float = 30.0
    max_entries: int = 10_000


class _Entry(msgspec.Struct, frozen=True):
    secret: Secret
    fetched_s: float


class _Away(msgspec.Struct):
    retry_at_s: float
    why: str


class _Flight:
    """A fetch on its way. Whoever began it sets `outcome`, then `landed`."""

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.outcome: Secret | SecretError | None = None


def whole_scheme(reference: Reference) -> str:
    """The place of a reference where all of a scheme are answered by one server."""
    return reference.scheme


class CachedBackend:
    """A backend that remembers. Any thread may call it; `close` ends its background thread."""

    def __init__(
        self,
        backend: SecretBackend,
        policy: CachePolicy | None = None,
        *,
        place_of: Callable[[Reference], str] = whole_scheme,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`place_of`: what is away together; `now_s` is a monotonic clock in seconds."""
        self._backend = backend
        self._policy = policy or CachePolicy()
        self._place_of = place_of
        self._now_s = now_s
        self._lock = threading.Lock()
        # In the order of use, so that the first is the one to forget.
        self._entries: OrderedDict[Reference, _Entry] = OrderedDict()
        self._flights: dict[Reference, _Flight] = {}
        self._away: OrderedDict[str, _Away] = OrderedDict()
        # A set in order. Only what has an entry gets in: so it is bounded as the entries are.
        self._due: OrderedDict[Reference, None] = OrderedDict()
        self._work = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def scheme(self) -> str:
        """The backend's."""
        return self._backend.scheme

    def fetch(self, reference: Reference) -> Secret:
        """The value, at most `ttl_s` old, or `keep_s` while the backend is away.

        SecretUnavailable if the backend refuses it; BackendAway if it is away and no value is
        young enough.
        """
        with self._lock:
            now_s = self._now_s()
            entry = self._entries.get(reference)
            if entry is not None and now_s - entry.fetched_s < self._policy.ttl_s:
                self._entries.move_to_end(reference)
                if now_s - entry.fetched_s >= self._policy.ttl_s - self._policy.refresh_ahead_s:
                    self._refresh_soon(reference)
                return entry.secret
            flight = self._flights.get(reference)
            mine = flight is None
            if flight is None:
                absent = self._away.get(self._place_of(reference))
                if absent is not None and now_s < absent.retry_at_s:
                    return _given(self._last_good(reference, absent.why, now_s))
                flight = self._flights[reference] = _Flight()
        if mine:
            self._fly(reference, flight)
        elif not flight.landed.wait(self._policy.wait_s):
            why = f"the backend has not answered in {self._policy.wait_s:g} s"
            with self._lock:
                return _given(self._last_good(reference, why, self._now_s()))
        return _given(flight.outcome)

    def close(self, timeout_s: float = 5.0) -> None:
        """End the background thread; a fetch that is on its way is not waited for any longer."""
        with self._lock:
            self._closed = True
            self._due.clear()
            self._work.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _fly(self, reference: Reference, flight: _Flight) -> None:
        outcome: Secret | SecretError = away(reference, "the fetch broke off")
        try:
            outcome = self._backend.fetch(reference)
        except SecretError as error:
            outcome = error
        finally:
            # Also when the backend broke: whoever waits must not wait in vain.
            with self._lock:
                flight.outcome = self._settle(reference, outcome)
                del self._flights[reference]
            flight.landed.set()

    def _settle(self, reference: Reference, outcome: Secret | SecretError) -> Secret | SecretError:
        """Take in what the backend said, and say what the callers get. The lock is held."""
        now_s = self._now_s()
        place = self._place_of(reference)
        if isinstance(outcome, BackendAway):
            why = str(outcome).removeprefix(f"{reference} cannot be read: ")
            if place not in self._away:
                _log.warning(
                    "a secret backend does not answer; the last good values count meanwhile",
                    extra={
                        "data": {
                            "place": place,
                            "reference": str(reference),
                            "reason": why,
                            "for_at_most_s": self._policy.keep_s,
                        }
                    },
                )
            self._away[place] = _Away(now_s + self._policy.retry_s, why)
            while len(self._away) > _MAX_PLACES:
                self._away.popitem(last=False)
            return self._last_good(reference, why, now_s)
        if self._away.pop(place, None) is not None:
            _log.info("a secret backend answers again", extra={"data": {"place": place}})
        if isinstance(outcome, SecretError):
            if self._entries.pop(reference, None) is not None:
                _log.warning(
                    "a secret that was there is refused now and counts no longer",
                    extra={"data": {"reference": str(reference), "reason": str(outcome)}},
                )
            return outcome
        self._entries[reference] = _Entry(outcome, now_s)
        self._entries.move_to_end(reference)
        while len(self._entries) > self._policy.max_entries:
            self._entries.popitem(last=False)
        return outcome

    def _last_good(self, reference: Reference, why: str, now_s: float) -> Secret | BackendAway:
        entry = self._entries.get(reference)
        if entry is None:
            return away(reference, why)
        if now_s - entry.fetched_s < self._policy.keep_s:
            self._entries.move_to_end(reference)
            return entry.secret
        del self._entries[reference]
        _log.error(
            "a secret's last good value is too old to count any longer",
            extra={"data": {"reference": str(reference), "reason": why}},
        )
        return away(
            reference, f"{why} (its last good value is older than {self._policy.keep_s:g} s)"
        )

    def _refresh_soon(self, reference: Reference) -> None:
        absent = self._away.get(self._place_of(reference))
        if (
            self._closed
            or reference in self._flights
            or reference in self._due
            or (absent is not None and self._now_s() < absent.retry_at_s)
        ):
            return
        self._due[reference] = None
        # Not alive: this process was forked from the one that started it.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._refresh, name=f"hookline-secrets-{self.scheme}", daemon=True
            )
            self._thread.start()
        self._work.notify()

    def _refresh(self) -> None:
        while True:
            with self._lock:
                while not self._due and not self._closed:
                    self._work.wait()
                if self._closed:
                    return
                reference, _ = self._due.popitem(last=False)
                if reference in self._flights or reference not in self._entries:
                    continue
                flight = self._flights[reference] = _Flight()
            try:
                self._fly(reference, flight)
            except Exception:
                # A fault of ours or of a client's: the value counts until its time is over.
                _log.exception(
                    "a secret could not be refreshed",
                    extra={"data": {"reference": str(reference)}},
                )


def _given(outcome: Secret | SecretError | None) -> Secret:
    if isinstance(outcome, Secret):
        return outcome
    assert outcome is not None
    # A new one for each caller: an error that several threads raise gathers all their tracebacks.
    raise type(outcome)(str(outcome))
