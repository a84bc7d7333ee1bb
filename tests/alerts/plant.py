"""A made-up installation that shows metrics as the real processes do: two gateways, a consumer and
a monitor under traffic with a day's rhythm, and whatever fault is put into it. A seed makes it.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Final

from consumer.monitor.alerts.series import Labels, Sample, labels_of
from schemas import metrics as names

DAY_S: Final = 86_400
#: Webhooks a second in the busiest hour.
CONNECTIONS: Final = {"acme-shop": 2.0, "acme-github": 0.4, "globex-stripe": 0.15, "initech": 0.02}
_ERRORS: Final = "unavailable"
_ZEROED: Final = ("accepted", "signature_wrong", _ERRORS)
_DRAWS: Final = 25


@dataclass
class Fault:
    """What is wrong now; nothing, as it is made."""

    forged_per_s: dict[str, float] = field(default_factory=dict)
    broken_secret: set[str] = field(default_factory=set)
    unknown_per_s: float = 0.0
    error_share: float = 0.0
    limited_share: dict[str, float] = field(default_factory=dict)
    ack_factor: float = 1.0
    kafka_away: bool = False
    spool_refused: int = 0
    overtaken_per_s: float = 0.0
    unserved: int = 0
    connections_age_s: float = 1.0
    quarantined_per_s: float = 0.0
    stopped: bool = False
    apply_factor: float = 1.0
    late_share: float = 0.0
    handler_failures: float = 0.0
    dead_per_s: float = 0.0
    parked: int = 0
    silent: set[str] = field(default_factory=set)
    secrets_end_s: dict[str, float] = field(default_factory=dict)
    backend_away: bool = False
    worker_restarts_per_s: float = 0.0
    down: set[str] = field(default_factory=set)


class _Counts(Counter[tuple[str, Labels]]):
    def add(self, name: str, amount: float, **labels: str) -> None:
        self[name, labels_of(labels)] += amount  # type: ignore[assignment]


class Plant:
    """Step it; `pages` is what every process shows after it, None for one that is down."""

    def __init__(self, seed: int, *, steady: bool = False) -> None:
        """`steady`: without a day's rhythm, bursts and failures of its own."""
        self._draw = Random(seed)
        self._steady = steady
        self.fault = Fault()
        self.now_s = 0.0
        self._counts = {name: _Counts() for name in ("g1", "g2", "c1", "m1")}
        self._restarting: set[str] = set()
        self._burst_until_s = 0.0
        self._queue = 0.0
        self._queued_since_s: float | None = None
        self._spool: dict[str, float] = {}
        self._backend_away_since_s: float | None = None
        self._last_event_s = dict.fromkeys(CONNECTIONS, 0.0)
        self._longest_pause_s = dict.fromkeys(CONNECTIONS, 0.0)
        for gateway in ("g1", "g2"):
            self._start(gateway)
        self._start("c1")

    def restart(self, name: str) -> None:
        """A process is started anew: it misses one scrape, and its counters begin at 0."""
        self._restarting.add(name)

    def step(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds
        if not self.fault.backend_away:
            self._backend_away_since_s = None
        elif self._backend_away_since_s is None:
            self._backend_away_since_s = self.now_s
        for name in list(self._restarting):
            self._counts[name].clear()
            self._start(name)
        for gateway in ("g1", "g2"):
            self._receive(gateway, seconds)
        self._consume(seconds)

    def pages(self) -> dict[tuple[str, str], list[Sample] | None]:
        """By job and instance."""
        shown: dict[tuple[str, str], list[Sample] | None] = {}
        for instance, counts in self._counts.items():
            job = {"g": "gateway", "c": "consumer", "m": "monitor"}[instance[0]]
            place = (f"hookline-{job}", instance)
            if instance in self.fault.down or instance in self._restarting:
                shown[place] = None
                continue
            own = {"job": place[0], "instance": instance}
            samples = [
                Sample(name, labels_of({**dict(labels), **own}), float(value))
                for (name, labels), value in counts.items()
            ]
            gauges = {
                "gateway": self._gateway,
                "consumer": self._consumer,
                "monitor": self._monitor,
            }
            for name, value, labels in gauges[job](instance):
                samples.append(Sample(name, labels_of({**labels, **own}), float(value)))
            shown[place] = samples
        self._restarting.clear()
        return shown

    def _start(self, name: str) -> None:
        counts = self._counts[name]
        if name.startswith("g"):
            for connection in CONNECTIONS:
                for outcome in _ZEROED:
                    counts.add(f"{names.WEBHOOKS}_total", 0, connection=connection, outcome=outcome)
            counts.add(f"{names.WEBHOOKS}_total", 0, outcome="not_found")
            counts.add(f"{names.SPOOL_OVERTAKEN}_total", 0)
            counts.add(f"{names.WORKER_RESTARTS}_total", 0, worker="1")
            self._observe(counts, names.WEBHOOK_SECONDS, [], 0)
        else:
            for outcome in ("applied", "duplicate", "parked", "dead_lettered"):
                counts.add(f"{names.EVENTS}_total", 0, outcome=outcome)
            for outcome in ("transient", "permanent"):
                counts.add(f"{names.HANDLER_RETRIES}_total", 0, outcome=outcome)
            self._observe(counts, names.EVENT_END_TO_END_SECONDS, [], 0)

    def _receive(self, gateway: str, seconds: float) -> None:
        fault, counts, draw = self.fault, self._counts[gateway], self._draw
        if gateway in fault.down:
            return
        rhythm = self._rhythm()
        taken = 0
        for connection, peak in CONNECTIONS.items():
            if connection in fault.silent:
                continue
            n = self._poisson(peak / 2 * rhythm * seconds)
            if n and connection not in fault.broken_secret:
                pause_s = self.now_s - self._last_event_s[connection]
                longest_s = self._longest_pause_s[connection]
                self._longest_pause_s[connection] = max(longest_s, pause_s)
                self._last_event_s[connection] = self.now_s
            outcomes: Counter[str] = Counter()
            for _ in range(n):
                outcomes[self._outcome(connection)] += 1
            outcomes["signature_wrong"] += self._poisson(
                fault.forged_per_s.get(connection, 0.0) / 2 * seconds
            )
            for outcome, count in outcomes.items():
                counts.add(f"{names.WEBHOOKS}_total", count, connection=connection, outcome=outcome)
            taken += outcomes["accepted"]
        unknown = fault.unknown_per_s + (0.0 if self._steady else 0.002)
        counts.add(
            f"{names.WEBHOOKS}_total", self._poisson(unknown / 2 * seconds), outcome="not_found"
        )
        counts.add(f"{names.SPOOL_OVERTAKEN}_total", self._poisson(fault.overtaken_per_s * seconds))
        counts.add(
            f"{names.WORKER_RESTARTS}_total",
            self._poisson(fault.worker_restarts_per_s * seconds),
            worker="1",
        )
        if fault.quarantined_per_s:
            counts.add(
                f"{names.QUARANTINED}_total",
                self._poisson(fault.quarantined_per_s / 2 * seconds),
                connection="acme-shop",
                reason="no_event_id",
            )
        latencies = [
            fault.ack_factor
            * draw.lognormvariate(math.log(0.008), 0.5)
            # Now and then one is slow, and nobody need know.
            * (300.0 if not self._steady and draw.random() < 0.0005 else 1.0)
            for _ in range(min(taken, _DRAWS))
        ]
        self._observe(counts, names.WEBHOOK_SECONDS, latencies, taken)
        if fault.kafka_away:
            self._spool.setdefault(gateway, self.now_s)
        else:
            self._spool.pop(gateway, None)
            self._queue += taken

    def _outcome(self, connection: str) -> str:
        fault, draw = self.fault, self._draw
        if connection in fault.broken_secret:
            return "signature_wrong"
        if draw.random() < fault.limited_share.get(connection, 0.0):
            return "rate_limited"
        if draw.random() < fault.error_share + (0.0 if self._steady else 0.0001):
            return _ERRORS
        if not self._steady and draw.random() < 0.002:
            return "signature_wrong"
        return "accepted"

    def _consume(self, seconds: float) -> None:
        fault, counts, draw = self.fault, self._counts["c1"], self._draw
        if fault.stopped or "c1" in fault.down:
            if self._queue and self._queued_since_s is None:
                self._queued_since_s = self.now_s
            return
        waited_s = 0.0
        if self._queued_since_s is not None:
            waited_s, self._queued_since_s = self.now_s - self._queued_since_s, None
        events, self._queue = int(self._queue), 0.0
        failed = self._poisson(events * (fault.handler_failures + (0 if self._steady else 0.003)))
        dead = self._poisson(fault.dead_per_s * seconds)
        counts.add(f"{names.HANDLER_RETRIES}_total", failed, outcome="transient")
        counts.add(f"{names.EVENTS}_total", events, outcome="applied")
        counts.add(f"{names.EVENTS}_total", dead, outcome="dead_lettered")
        commits = max(1, events // 3) if events else 0
        latencies = [
            waited_s
            + (
                draw.uniform(61, 200)
                if draw.random() < fault.late_share
                else fault.apply_factor * draw.lognormvariate(math.log(0.04), 0.6)
            )
            for _ in range(min(commits, _DRAWS))
        ]
        self._observe(counts, names.EVENT_END_TO_END_SECONDS, latencies, commits)

    def _gateway(self, instance: str) -> list[tuple[str, float, dict[str, str]]]:
        fault = self.fault
        since_s = self._spool.get(instance)
        away_s = self.now_s if self._backend_away_since_s is None else self._backend_away_since_s
        return [
            (names.SECRET_BACKEND_SILENT_SECONDS, self.now_s - away_s, {"scheme": "vault"}),
            (names.SPOOL_CIRCUIT_OPEN, float(since_s is not None), {}),
            (names.SPOOL_OLDEST_SECONDS, self.now_s - since_s if since_s is not None else 0.0, {}),
            (names.SPOOL_REFUSED_EVENTS, fault.spool_refused, {}),
            (names.CONNECTIONS, len(CONNECTIONS), {"state": "active"}),
            (names.CONNECTIONS, fault.unserved, {"state": "unserved"}),
            (names.CONNECTIONS_AGE_SECONDS, fault.connections_age_s, {}),
            *(
                (names.SECRETS_END_SECONDS, ends_s, {"connection": connection})
                for connection, ends_s in fault.secrets_end_s.items()
            ),
        ]

    def _consumer(self, _: str) -> list[tuple[str, float, dict[str, str]]]:
        waits_s = self.now_s - self._queued_since_s if self._queued_since_s is not None else 0.0
        return [
            (names.LAG_SECONDS, waits_s, {}),
            (names.LAG_EVENTS, self._queue, {"partition": "0"}),
            (names.PARKED_KEYS, self.fault.parked, {}),
        ]

    def _monitor(self, _: str) -> list[tuple[str, float, dict[str, str]]]:
        shown: list[tuple[str, float, dict[str, str]]] = []
        for connection, last_s in self._last_event_s.items():
            label = {"connection": connection}
            shown.append((names.CONNECTION_SILENT_SECONDS, self.now_s - last_s, label))
            longest_s = self._longest_pause_s[connection]
            shown.append((names.CONNECTION_LONGEST_PAUSE_SECONDS, longest_s, label))
        return shown

    def _rhythm(self) -> float:
        if self._steady:
            return 0.6
        of_day = (self.now_s % DAY_S) / DAY_S
        rhythm = 0.1 + 0.9 * math.sin(math.pi * of_day) ** 2
        if self.now_s < self._burst_until_s:
            return rhythm * 6
        if self._draw.random() < 0.01:
            self._burst_until_s = self.now_s + self._draw.uniform(30, 240)
        return rhythm

    def _poisson(self, mean: float) -> int:
        if mean <= 0:
            return 0
        if mean > 30:
            return max(0, round(self._draw.gauss(mean, math.sqrt(mean))))
        left, n = math.exp(-mean), 0
        drawn = self._draw.random()
        while drawn > left:
            drawn *= self._draw.random()
            n += 1
        return n

    @staticmethod
    def _observe(counts: _Counts, name: str, drawn: list[float], count: int) -> None:
        """`count` readings that are distributed as those drawn."""
        whole, rest = divmod(count, max(1, len(drawn)))
        for bound in (*names.HISTOGRAM_BOUNDS[name], math.inf):
            text = "+Inf" if math.isinf(bound) else str(bound)
            below = sum(
                whole + (1 if n < rest else 0) for n, value in enumerate(drawn) if value <= bound
            )
            counts.add(f"{name}_bucket", below, le=text)
        counts.add(f"{name}_count", count if drawn else 0)
