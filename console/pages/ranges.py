"""Which stretch of time a page is about: one of six, or what was zoomed into."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from console import words
from console.problems import not_understood
from consumer.monitor.contract import MAX_RANGE_S, MINUTE_S, Range

WEEK_S: Final = 7 * 86_400
_US: Final = 1_000_000
#: What is written in the address, what it is called, and how long it is.
RANGES: Final = (
    ("15m", "15 min", 900),
    ("1h", "1 h", 3_600),
    ("6h", "6 h", 21_600),
    ("24h", "24 h", 86_400),
    ("7d", "7 days", WEEK_S),
    ("30d", "30 days", 30 * 86_400),
)
_DEFAULT: Final = "1h"
_AGE: Final = re.compile(r"(\d{1,4})\s*(s|m|min|h|d)")
_UNITS: Final = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days"}


class Choice(msgspec.Struct, frozen=True):
    """One range to choose."""

    name: str
    link: str
    current: bool


class Zoom(msgspec.Struct, frozen=True):
    """Where one can go from a stretch that was zoomed into."""

    wider: str
    earlier: str
    later: str


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The range of a page."""

    range: Range
    text: str
    choices: list[Choice]
    zoomed: Zoom | None = None

    @property
    def length_s(self) -> int:
        """How long it is."""
        return (self.range.until_us - self.range.since_us) // _US


def chosen(query: Mapping[str, str], now_us: int, path: str = "/") -> Chosen:
    """The range that an address asks for; a Problem for one that cannot be."""
    if "from" in query or "to" in query:
        return _zoomed(query, now_us, path)
    wanted = query.get("range", _DEFAULT)
    for key, name, length_s in RANGES:
        if key == wanted:
            return Chosen(
                range=Range(now_us - length_s * _US, now_us),
                text=f"The last {name}",
                choices=_choices(path, key),
            )
    raise not_understood(
        "There is no such range", f"Choose one of {', '.join(key for key, _, _ in RANGES)}."
    )


def _choices(path: str, current: str) -> list[Choice]:
    return [Choice(name, f"{path}?range={key}", key == current) for key, name, _ in RANGES]


def _zoomed(query: Mapping[str, str], now_us: int, path: str) -> Chosen:
    try:
        begin_s, end_s = int(query["from"]), int(query["to"])
    except (KeyError, ValueError):
        raise not_understood(
            "The stretch of time cannot be read", "Write from and to as seconds since 1970."
        ) from None
    now_s = now_us // _US
    # Never so narrow that nothing is left of it, never beyond what is kept.
    end_s = min(max(end_s, 0), now_s)
    begin_s = max(min(begin_s, end_s - 5 * MINUTE_S), end_s - MAX_RANGE_S, 0)
    length_s = end_s - begin_s
    if length_s <= 0:
        raise not_understood("This stretch of time is empty", "Choose one that has begun.")
    wider_s = min(length_s // 2, (MAX_RANGE_S - length_s) // 2)
    later_s = min(length_s // 2, now_s - end_s)

    def link(since_s: int, until_s: int) -> str:
        return f"{path}?from={since_s}&to={until_s}"

    return Chosen(
        range=Range(begin_s * _US, end_s * _US),
        text=f"{words.span(length_s)} until {words.utc(end_s * _US)}",
        choices=_choices(path, ""),
        zoomed=Zoom(
            link(begin_s - wider_s, min(now_s, end_s + wider_s)),
            link(begin_s - length_s // 2, end_s - length_s // 2),
            link(begin_s + later_s, end_s + later_s),
        ),
    )


def moment(text: str, now_us: int, what: str) -> int | None:
    """A time that somebody has written: ISO 8601, or an age such as `30m`; None for nothing."""
    text = text.strip()
    if not text:
        return None
    if match := _AGE.fullmatch(text):
        age = timedelta(**{_UNITS[match[2]]: int(match[1])})
        return now_us - int(age.total_seconds()) * _US
    try:
        written = datetime.fromisoformat(text)
    except ValueError:
        raise not_understood(
            f"“{what}” is not a time",
            "Write an age such as 30m, 2h or 7d, or a time such as 2026-11-24T09:00Z (without a "
            "zone it is UTC).",
        ) from None
    if written.tzinfo is None:
        written = written.replace(tzinfo=UTC)
    return int(written.timestamp() * _US)
