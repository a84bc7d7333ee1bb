"""Sends probes and says what came of each; one at a time, on one thread."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec
from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from consumer.monitor.contract import FINE
from hookline.probe.effects import Effects
from hookline.probe.round_trip import RoundTrip
from producer.providers.provider import Outgoing
from schemas import metrics as names
from schemas.errors import StoreError, TopicError
from schemas.execution import Execution
from schemas.request_id import parse

_STEPS: Final = ("dns", "connect", "tls", "network", "server")


class Outcome(StrEnum):
    """What came of a probe; safe as a metric label."""

    OK = "ok"
    #: No answer: the name, the connection, TLS, or the time.
    UNREACHABLE = "unreachable"
    #: An answer that is not 200.
    REFUSED = "refused"
    #: Answered 200, and not seen to be applied in time.
    NO_EFFECT = "no_effect"
    #: Applied, and that failed: parked or given up on.
    FAILED = "failed"
    #: Answered 200; where effects are seen could not be asked.
    UNSEEN = "unseen"


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """One probe. `effect_ms` is from the beginning of its sending to its commit, by our clock."""

    connection: str
    outcome: Outcome
    round_trip: RoundTrip
    execution: Execution | None = None
    effect_ms: float = 0.0
    #: Why the effect could not be asked for.
    problem: str = ""

    @property
    def good(self) -> bool:
        """Whether all that was checked is well."""
        return self.outcome is Outcome.OK


class Prober:
    """`make` gives the next signed request, `post` sends it; `effects` None checks answers only."""

    def __init__(
        self,
        connection: str,
        make: Callable[[], Outgoing],
        post: Callable[[Outgoing], RoundTrip],
        effects: Effects | None,
        *,
        effect_within_s: float,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._make = make
        self._post = post
        self._effects = effects
        self._effect_within_s = effect_within_s
        self._monotonic_s = monotonic_s

    def once(self) -> Probed:
        """Send one and follow it; never raises for what is away."""
        problem = ""
        effects = self._effects
        if effects is not None:
            try:
                effects.prepare()
            except (TopicError, StoreError) as error:
                problem, effects = str(error), None
        sent = self._make()
        began_s = self._monotonic_s()
        trip = self._post(sent)
        outcome, execution, effect_ms = _of_answer(trip), None, 0.0
        if outcome is Outcome.OK:
            if problem:
                outcome = Outcome.UNSEEN
            elif effects is not None:
                execution = effects.wait(parse(trip.request_id), self._effect_within_s)
                effect_ms = (self._monotonic_s() - began_s) * 1000
                if execution is None:
                    outcome = Outcome.NO_EFFECT
                elif execution.outcome not in FINE:
                    outcome = Outcome.FAILED
        return Probed(
            connection=self._connection,
            outcome=outcome,
            round_trip=trip,
            execution=execution,
            effect_ms=effect_ms,
            problem=problem,
        )


def _of_answer(trip: RoundTrip) -> Outcome:
    if not trip.status:
        return Outcome.UNREACHABLE
    if trip.status != 200:
        return Outcome.REFUSED
    try:
        parse(trip.request_id)
    except ValueError:
        # Somebody answers 200 in the gateway's place.
        return Outcome.REFUSED
    return Outcome.OK


class ProbeMetrics:
    """What the prober's own /metrics tells."""

    def __init__(self, connection: str, wall_s: Callable[[], float]) -> None:
        self._connection = {"connection": connection}
        self._wall_s = wall_s
        self._last: Probed | None = None
        self._succeeded_s = 0.0
        meter = metrics.get_meter("hookline.probe")
        self._probes = meter.create_counter(names.PROBES)
        self._round_trip_s = meter.create_histogram(names.PROBE_ROUND_TRIP_SECONDS)
        self._effect_s = meter.create_histogram(names.PROBE_EFFECT_SECONDS)
        meter.create_observable_gauge(names.PROBE_STEP_SECONDS, callbacks=[self._steps])
        meter.create_observable_gauge(
            names.PROBE_SUCCESS_TIMESTAMP_SECONDS, callbacks=[self._success]
        )

    def probed(self, probed: Probed) -> None:
        """One probe more."""
        self._last = probed
        self._probes.add(1, {**self._connection, "outcome": probed.outcome.value})
        if probed.round_trip.status:
            self._round_trip_s.record(probed.round_trip.total_ms / 1000)
        if probed.execution is not None:
            self._effect_s.record(probed.effect_ms / 1000)
        if probed.good:
            self._succeeded_s = self._wall_s()

    def _steps(self, _: CallbackOptions) -> list[Observation]:
        last = self._last
        if last is None or not last.round_trip.status:
            return []
        return [
            Observation(ms / 1000, {**self._connection, "step": step})
            for step, ms in steps_ms(last.round_trip).items()
        ]

    def _success(self, _: CallbackOptions) -> list[Observation]:
        return [Observation(self._succeeded_s, self._connection)] if self._succeeded_s else []


def steps_ms(trip: RoundTrip) -> dict[str, float]:
    """The parts of a round trip; the server's is its own word."""
    values = (
        trip.dns_ms,
        trip.connect_ms,
        trip.tls_ms,
        trip.network_ms,
        trip.server_ms.get("total", 0.0),
    )
    return dict(zip(_STEPS, values, strict=True))
