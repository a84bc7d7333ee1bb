"""The cache in front of a remote backend: asked seldom, never by two at once for the same secret.

What the backend says counts at once: a secret that it refuses or no longer has is forgotten, which
is a revocation. Only while it gives no answer at all does the last good value go on counting, and
only for a bounded time.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from credentials.absence import Absences
from credentials.reference import Reference
from credentials.resolver import SecretBackend
from credentials.secret import Secret
from credentials.value import away
from schemas.errors import BackendAway, SecretError

_log = logging.getLogger("hookline.credentials")


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
    #: It was changed since, as far as this process knows.
    outdated: bool = False


class _Flight:
    """A fetch on its way. Whoever began it sets `outcome`, then `landed`."""

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.outcome: Secret | SecretError | None = None
        #: The secret has been changed since: what comes of it is for those who wait, and not kept.
        self.outdated = False


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
        self._absences = Absences(
            retry_s=self._policy.retry_s,
            hold_s=self._policy.wait_s,
            max_entries=self._policy.max_entries,
        )
        # In order; true is the one try of a place that is away. Only what has an entry gets in: so
        # it is bounded as the entries are.
        self._due: OrderedDict[Reference, bool] = OrderedDict()
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
            if (
                entry is not None
                and not entry.outdated
                and now_s - entry.fetched_s < self._policy.ttl_s
            ):
                self._entries.move_to_end(reference)
                if now_s - entry.fetched_s >= self._policy.ttl_s - self._policy.refresh_ahead_s:
                    self._refresh_soon(reference)
                return entry.secret
            place = self._place_of(reference)
            if why := self._absences.why(place, reference, now_s):
                return _given(self._last_good(reference, why, now_s))
            flight = self._flights.get(reference)
            mine = flight is None
            if flight is None:
                tried = self._absences.begin(place, reference, now_s, self._likeliest(place))
                if tried != reference:
                    self._put_to_work(tried, trying=True)
                    why = self._absences.why(place, reference, now_s)
                    return _given(self._last_good(reference, why, now_s))
                flight = self._flights[reference] = _Flight()
        if mine:
            self._fly(reference, flight)
        elif not flight.landed.wait(self._policy.wait_s):
            why = f"the backend has not answered in {self._policy.wait_s:g} s"
            with self._lock:
                return _given(self._last_good(reference, why, self._now_s()))
        return _given(flight.outcome)

    def expire(self, reference: Reference) -> None:
        """It was just changed there: the next fetch asks, also while one is on its way.

        The value counts on only as it would at the end of its time: if there is no answer.
        """
        with self._lock:
            entry = self._entries.get(reference)
            if entry is not None:
                self._entries[reference] = msgspec.structs.replace(entry, outdated=True)
            flight = self._flights.pop(reference, None)
            if flight is not None:
                flight.outdated = True
            self._absences.reconsider(self._place_of(reference), reference, self._now_s())

    def close(self, timeout_s: float = 5.0) -> None:
        """End the background thread; a fetch that is on its way is not waited for any longer."""
        with self._lock:
            self._closed = True
            self._due.clear()
            self._work.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def silent_s(self) -> float:
        """How long the backend has given no answer, to anything that is still wanted of it."""
        with self._lock:
            return self._absences.silent_s(self._now_s())

    def _fly(self, reference: Reference, flight: _Flight) -> None:
        outcome: Secret | SecretError = away(reference, "the fetch broke off")
        try:
            outcome = self._backend.fetch(reference)
        except SecretError as error:
            outcome = error
        # A client may fail in ways that are not ours, with a text that holds anything. It is no
        # word about the secret; and who asks for many goes on with the next.
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).stem}:{frame.lineno}"
            outcome = away(reference, f"its client failed ({type(error).__name__} at {where})")
        finally:
            # Also when the backend broke: whoever waits must not wait in vain.
            with self._lock:
                if flight.outdated:
                    flight.outcome = outcome
                else:
                    flight.outcome = self._settle(reference, outcome)
                    del self._flights[reference]
            flight.landed.set()

    def _settle(self, reference: Reference, outcome: Secret | SecretError) -> Secret | SecretError:
        """Take in what the backend said, and say what the callers get. The lock is held."""
        now_s = self._now_s()
        place = self._place_of(reference)
        if isinstance(outcome, BackendAway):
            why = str(outcome).removeprefix(f"{reference} cannot be read: ")
            if self._absences.failed(place, reference, why, now_s):
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
                # Whether it is the place or this secret alone, another one shows.
                for other in self._likeliest(place):
                    if other != reference:
                        self._put_to_work(other, trying=True)
                        break
            return self._last_good(reference, why, now_s)
        failing = self._absences.answered(place, reference, now_s)
        if failing is not None:
            _log.info("a secret backend answers again", extra={"data": {"place": place}})
            for one in failing:
                _log.warning(
                    "a secret backend answers, but not for this secret; its last good value "
                    "counts meanwhile",
                    extra={"data": {"place": place, "reference": str(one)}},
                )
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

    def _likeliest(self, place: str) -> Iterator[Reference]:
        """Whose value the place gave last is the likeliest to be given again."""
        # Looked for only when the place is away, at most once a try.
        entries = [item for item in self._entries.items() if self._place_of(item[0]) == place]
        entries.sort(key=lambda item: item[1].fetched_s, reverse=True)
        for reference, _ in entries:
            yield reference

    def _refresh_soon(self, reference: Reference) -> None:
        if reference not in self._flights and not self._left_alone(reference):
            self._put_to_work(reference, trying=False)

    def _left_alone(self, reference: Reference) -> bool:
        return bool(self._absences.why(self._place_of(reference), reference, self._now_s()))

    def _put_to_work(self, reference: Reference, *, trying: bool) -> None:
        if self._closed:
            return
        self._due[reference] = trying or self._due.get(reference, False)
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
                reference, trying = self._due.popitem(last=False)
                if reference in self._flights or reference not in self._entries:
                    continue
                # The place may have gone away since it was put here.
                if self._left_alone(reference) and not trying:
                    continue
                flight = self._flights[reference] = _Flight()
            self._fly(reference, flight)


def _given(outcome: Secret | SecretError | None) -> Secret:
    if isinstance(outcome, Secret):
        return outcome
    assert outcome is not None
    # A new one for each caller: an error that several threads raise gathers all their tracebacks.
    raise type(outcome)(str(outcome))
