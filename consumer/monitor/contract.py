"""What the monitor keeps of the execution log, and the questions that it answers.

Rule: rows, their sums and the log's offsets are written in one transaction, so that each message
counts exactly once. All times are Unix µs and all durations ns unless a name says otherwise; every
count is weighted (`Execution.weight`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from schemas.execution import STEPS, Execution, Reception

#: What there are latencies of, in the order of a webhook's way: the steps, and spans over several.
#: `delivery`: from the provider's own time to its first byte here (both clocks' errors included);
#: `answered`: from the first byte to the answer; `stored`: from the first byte to Kafka's time of
#: it; `end_to_end`: from the first byte to the commit of its effect.
MEASURES: Final = ("delivery", *STEPS, "answered", "stored", "end_to_end")

MINUTE_S: Final = 60
#: A series of an overview has no more points than this.
MAX_BUCKETS: Final = 120
#: The longest range that can be asked for.
MAX_RANGE_S: Final = 31 * 86_400
#: The relative error of every percentile.
RELATIVE_ERROR: Final = 0.01

#: Outcomes of an event that are no error.
FINE: Final = frozenset({"applied", "duplicate", "stale", "refetched", "unhandled"})


class Range(NamedTuple):
    """From `since_us` to before `until_us`."""

    since_us: int
    until_us: int

    def earlier(self, by_s: int) -> Range:
        """The same length of time, so much earlier."""
        return Range(self.since_us - by_s * 1_000_000, self.until_us - by_s * 1_000_000)


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Which events; None takes all. A connection of "" is that of requests to no known one.

    Requests have no event type and no group: with an event type only events are counted, and the
    gateway's steps are those of the requests that brought them.
    """

    environment: str
    connection: str | None = None
    provider: str | None = None
    event_type: str | None = None
    group: str | None = None


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many; weighted, and exact."""

    #: Requests at the gateways.
    requests: int = 0
    #: Of these, answered 400 or above.
    refused: int = 0
    #: Of these, answered 500 or above: the gateway's own fault, or Kafka's.
    unavailable: int = 0
    #: Executions: one for each event and consumer group.
    events: int = 0
    #: Of these, with an outcome that is not in `FINE`.
    errors: int = 0
    duplicates: int = 0
    stale: int = 0
    #: Of these, whose handler failed at least once, whatever became of it.
    retried: int = 0
    #: Both by their `outcome`.
    requests_by_outcome: Mapping[str, int] = {}
    events_by_outcome: Mapping[str, int] = {}


class Latency(msgspec.Struct, frozen=True):
    """Of one measure, within `RELATIVE_ERROR`. `count` is how many it is of; 0: all are 0."""

    count: int = 0
    p50_ns: int = 0
    p95_ns: int = 0
    p99_ns: int = 0


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time that begins at `at_us`. Events belong to when they were committed,
    requests to when they were received.

    `latencies` holds every measure that was asked for.
    """

    at_us: int
    counts: Counts
    latencies: Mapping[str, Latency]


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """A time series: every bucket of the range in order, also those in which nothing happened.

    The range is the one asked for in whole buckets: the last, and the first but of the longest
    ranges, reach beyond it.
    """

    range: Range
    bucket_s: int
    buckets: tuple[Bucket, ...]
    #: Of the whole range.
    total: Bucket
    #: The same a week earlier, bucket for bucket.
    last_week: Overview | None = None


class ConnectionTotal(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection did within a range."""

    connection: str
    tenant: str
    provider: str
    counts: Counts


class ConnectionHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How a connection does. Times are 0 where it never happened."""

    connection: str
    tenant: str
    provider: str
    #: When its last authentic request or event was received.
    last_received_us: int
    #: When its last event was committed, whatever its outcome.
    last_committed_us: int
    last_error_us: int
    last_refused_us: int
    #: How long it has been silent.
    silent_ns: int
    #: Its usual rhythm over the last days (`RHYTHM_DAYS`): pauses between one and the next.
    pauses: int
    usual_pause_ns: int
    #: 99 of 100 pauses were not longer; and the longest of all.
    long_pause_ns: int
    longest_pause_ns: int
    #: How many events and requests came a week ago in a stretch as long as the present silence.
    expected: int


#: Of how many days `ConnectionHealth` knows the rhythm.
RHYTHM_DAYS: Final = 14


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which executions; an empty field takes all. `event_type` may end in `.*`."""

    environment: str
    connection: str = ""
    tenant: str = ""
    provider: str = ""
    event_type: str = ""
    resource_type: str = ""
    resource_id: str = ""
    event_id: str = ""
    group: str = ""
    #: Any of these.
    outcomes: tuple[str, ...] = ()
    #: Only those whose handler failed at least once.
    retried: bool = False
    #: By the time of the commit.
    range: Range | None = None


class RequestFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests; an empty field takes all."""

    environment: str
    #: None takes all, "" those of no known connection.
    connection: str | None = None
    tenant: str = ""
    provider: str = ""
    outcomes: tuple[str, ...] = ()
    #: Only those answered 400 or above.
    refused: bool = False
    #: By the time that it was received.
    range: Range | None = None


class EventPage(msgspec.Struct, frozen=True):
    """Executions, the latest first; `next` is the cursor of the page after, "" for the last."""

    rows: tuple[Execution, ...]
    next: str = ""


class RequestPage(msgspec.Struct, frozen=True):
    """Receptions, the latest first."""

    rows: tuple[Reception, ...]
    next: str = ""


#: A page has no more rows than this.
MAX_PAGE: Final = 500


class RequestStory(msgspec.Struct, frozen=True):
    """All that is known of one request id: in the order of time; empty if nothing is."""

    receptions: tuple[Reception, ...]
    executions: tuple[Execution, ...]


class Gauge(msgspec.Struct, frozen=True, kw_only=True):
    """One sample of a named series, such as a group's lag. Names come from a closed set."""

    environment: str
    name: str
    at_us: int
    value: float
    #: Few values each: a partition, a group, a secret's name; never anything a sender chooses.
    labels: Mapping[str, str] = {}


class GaugePoint(msgspec.Struct, frozen=True):
    """What a gauge was within a bucket."""

    at_us: int
    low: float
    high: float
    last: float


class GaugeSeries(msgspec.Struct, frozen=True, kw_only=True):
    """A gauge over time; buckets in which it was not sampled are left out."""

    name: str
    labels: Mapping[str, str]
    bucket_s: int
    points: tuple[GaugePoint, ...]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The names that occur in an environment, sorted: for menus."""

    connections: tuple[str, ...]
    tenants: tuple[str, ...]
    providers: tuple[str, ...]
    event_types: tuple[str, ...]
    groups: tuple[str, ...]


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long things are kept; whichever bound is reached first."""

    #: Single executions and receptions; so many of each.
    rows_s: int = 7 * 86_400
    max_rows: int = 5_000_000
    #: Sums per minute, per ten minutes, per hour, per six hours: a week longer than what is asked
    #: of them, so that there is a last week to compare with.
    minutes_s: int = 8 * 86_400
    tens_s: int = 15 * 86_400
    hours_s: int = 38 * 86_400
    sixths_s: int = 38 * 86_400


class Span(NamedTuple):
    """Which messages of a log's partition a batch holds: from `first` to before `next`."""

    #: What the store says it has counted up to; None if it has nothing of this partition.
    first: int | None
    next: int


class Questions(Protocol):
    """What the console, alerts and commands ask; from any thread and beside the writer."""

    def overview(
        self,
        scope: Scope,
        range: Range,
        *,
        measures: Sequence[str] = MEASURES,
        last_week: bool = True,
    ) -> Overview:
        """Counts and latencies over time; ValueError for a range that is empty or too long."""

    def total(self, scope: Scope, range: Range, *, measures: Sequence[str] = ()) -> Bucket:
        """The same as one bucket: whole minutes up to two hours of range, whole ten minutes up to
        a day, whole hours beyond."""

    def connection_totals(self, environment: str, range: Range) -> list[ConnectionTotal]:
        """Each connection that had anything within the range, by name; "" is of no known one."""

    def health(self, environment: str, now_us: int) -> list[ConnectionHealth]:
        """Each connection that was ever heard of, by name."""

    def known(self, environment: str) -> Known:
        """The names that occur."""

    def events(self, wanted: EventFilter, *, after: str = "", limit: int = 50) -> EventPage:
        """Executions that a filter takes; ValueError for a cursor that is none of ours."""

    def requests(self, wanted: RequestFilter, *, after: str = "", limit: int = 50) -> RequestPage:
        """Receptions that a filter takes."""

    def request(self, environment: str, request_id: bytes) -> RequestStory:
        """Everything under one request id (16 bytes)."""

    def gauges(self, environment: str, name: str, range: Range) -> list[GaugeSeries]:
        """A gauge over time, each set of labels by itself."""

    def latest_gauges(self, environment: str, name: str = "") -> list[Gauge]:
        """The last sample of each gauge, of one name or of all."""

    def record(self, gauges: Sequence[Gauge]) -> None:
        """Write samples; also beside the monitor, from another process."""

    def close(self) -> None:
        """Release everything."""


class MonitorStore(Questions, Protocol):
    """The same, opened by the monitor itself."""

    def offsets(self, topic: str) -> dict[int, int]:
        """Up to where each partition of the log has been counted: where to go on reading."""

    def append(
        self, rows: Sequence[Execution | Reception], topic: str, spans: Mapping[int, Span]
    ) -> None:
        """Write the rows of some messages, their sums and the log's offsets in one transaction.

        Fenced, and nothing written, if the store has counted up to elsewhere than a span's
        `first`: another monitor has these messages.
        """

    def expire(self, retention: Retention, now_us: int, limit: int) -> int:
        """Delete at most about `limit` rows that are too old or too many; how many that were.

        0 when nothing is left to delete. No call takes long, so that `append` never waits long.
        """
