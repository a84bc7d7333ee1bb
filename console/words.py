"""Numbers, times and outcomes as pages write them: real units, plain words."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final, NamedTuple

NOTHING: Final = "\N{EN DASH}"
_MINUS: Final = "\N{MINUS SIGN}"
_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_DAY_S: Final = 86_400


class Outcome(NamedTuple):
    """An outcome in words. `tone` is `good`, `quiet`, `warn` or `bad`."""

    name: str
    tone: str
    meaning: str


#: Of `consumer.core.disposition.Outcome`; one that is not here shows as it is.
OUTCOMES: Final[dict[str, Outcome]] = {
    "applied": Outcome("Applied", "good", "Its effect is in the store."),
    "refetched": Outcome("Refetched", "good", "Its handler fetched the current state instead."),
    "duplicate": Outcome("Duplicate", "quiet", "It was done before, so nothing was done again."),
    "stale": Outcome("Stale", "quiet", "A newer version of the same resource was applied before."),
    "unhandled": Outcome("No handler", "quiet", "No handler wants events of this type."),
    "parked": Outcome("Parked", "warn", "It is held in order behind an event that keeps failing."),
    "dead_lettered": Outcome("Dead letter", "bad", "It was given up on and kept with its reason."),
    "transient": Outcome("Failed, tried again", "warn", "Its handler failed and is tried again."),
    "exhausted": Outcome("Retries spent", "warn", "Its handler failed for the whole retry budget."),
    "no_room": Outcome("No room to park", "warn", "It waits in memory: too much is parked."),
    "parked_transient": Outcome("Failed while parked", "warn", "It stays parked and is retried."),
    "parked_exhausted": Outcome("Parked for too long", "bad", "It was parked for too long."),
    "permanent": Outcome("Failed for good", "bad", "Its handler said that no retry helps."),
    "poison": Outcome("Not readable", "bad", "Its bytes could not be decoded."),
}

#: Of a reception; what is not here shows as it is.
RECEPTIONS: Final[dict[str, Outcome]] = {
    "accepted": Outcome("Accepted", "good", "It is safe on Kafka or in the spool."),
    "quarantined": Outcome(
        "Quarantined", "warn", "Authentic, but its provider's rules cannot read it."
    ),
    "handshake": Outcome("Handshake", "quiet", "The provider checked that the address is ours."),
    "duplicate": Outcome("Duplicate", "quiet", "The provider sent it before."),
}


def outcome(code: str) -> Outcome:
    """An event's outcome in words."""
    return OUTCOMES.get(code) or Outcome(_spoken(code), "quiet", "")


def reception(code: str, status: int) -> Outcome:
    """A request's outcome in words."""
    known = RECEPTIONS.get(code)
    if known is not None:
        return known
    tone = "bad" if status >= 500 else "warn" if status >= 400 else "quiet"
    return Outcome(_spoken(code), tone, f"The sender was answered {status}.")


def _spoken(code: str) -> str:
    text = code.replace("_", " ").strip()
    return text[:1].upper() + text[1:] if text else "Unknown"


def count(number: float | None) -> str:
    """A whole number with separators."""
    return NOTHING if number is None else f"{round(number):,}"


def rate(per_minute: float | None) -> str:
    """Events per minute; from 600 on per second."""
    if per_minute is None:
        return NOTHING
    if per_minute >= 600:
        return f"{_digits(per_minute / 60)} / s"
    return f"{_digits(per_minute)} / min"


def share(part: float | None) -> str:
    """A ratio in percent; a small one is never shown as none."""
    if part is None:
        return NOTHING
    percent = part * 100
    if percent == 0:
        return "0 %"
    if percent < 0.01:
        return "< 0.01 %"
    if 99.99 < percent < 100:
        return "> 99.99 %"
    return f"{_digits(percent)} %"


def duration(ns: float | None) -> str:
    """A time span in the unit that fits: `840 µs`, `3.2 ms`, `1.84 s`, `2 min 10 s`, `3 d 4 h`."""
    if ns is None or math.isnan(ns):
        return NOTHING
    if ns == 0:
        return "0 s"
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        # Rounding must not give 1,000 of a unit.
        if ns < 999.5 * size:
            return f"{_digits(ns / size)} {unit}"
    seconds = ns / 1e9
    if seconds < 59.95:
        return f"{_digits(seconds)} s"
    return span(round(seconds))


def span(seconds: int) -> str:
    """A long time span in its two largest units."""
    for (unit, size), (small, small_size) in (
        (("d", _DAY_S), ("h", _HOUR_S)),
        (("h", _HOUR_S), ("min", _MINUTE_S)),
        (("min", _MINUTE_S), ("s", 1)),
    ):
        if seconds >= size:
            rest = seconds % size // small_size
            return f"{seconds // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{seconds} s"


def ago(moment_us: int, now_us: int) -> str:
    """How long before `now_us`, in the largest whole unit."""
    seconds = (now_us - moment_us) // 1_000_000
    if seconds < 0:
        return "in " + _largest(-seconds)
    return "just now" if seconds < 2 else f"{_largest(seconds)} ago"


def _largest(seconds: int) -> str:
    for unit, size in (("d", _DAY_S), ("h", _HOUR_S), ("min", _MINUTE_S)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def utc(moment_us: int, *, exact: bool = False) -> str:
    """A moment as people write it, in UTC; `exact` with its milliseconds."""
    moment = datetime.fromtimestamp(moment_us / 1e6, UTC)
    text = moment.strftime("%d %b %Y %H:%M:%S").lstrip("0")
    return f"{text}.{moment.microsecond // 1000:03d} UTC" if exact else f"{text} UTC"


def iso(moment_us: int) -> str:
    """A moment for machines."""
    moment = datetime.fromtimestamp(moment_us / 1e6, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def change(now: float | None, before: float | None) -> str:
    """How a figure differs from last week's, in percent or times."""
    if now is None or before is None:
        return "no figure last week" if before is None else ""
    if before == 0:
        return "as last week" if now == 0 else "none last week"
    ratio = now / before
    if abs(ratio - 1) < 0.005:
        return "as last week"
    if ratio >= 10:
        return f"{_digits(ratio)} times last week"
    percent = (ratio - 1) * 100
    return f"{'+' if percent > 0 else _MINUS}{_digits(abs(percent))} % on last week"


def bytes_(number: int) -> str:
    """A size in bytes, KiB or MiB."""
    if number < 1024:
        return f"{number} bytes"
    if number < 1024 * 1024:
        return f"{_digits(number / 1024)} KiB"
    return f"{_digits(number / 1024 / 1024)} MiB"


def shown(text: str) -> str:
    """A text from outside: what controls or hides something is escaped, as in the commands."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def number(value: float) -> str:
    """Three significant digits."""
    return _digits(value)


def _digits(number: float) -> str:
    """Three significant digits, no exponent, no empty decimals."""
    if number >= 99.95:
        return f"{number:,.0f}"
    text = f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"
    return text.rstrip("0").rstrip(".")
