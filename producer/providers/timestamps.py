"""Times as providers write them, to integers. None for whatever is not one; nothing raises.

Microseconds since 1970 (`_us`) are kept within the years 1 to 9999, which datetime can show.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal

UnixUnit = Literal["s", "ms"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MIN_US: Final = -62_135_596_800_000_000
_MAX_US: Final = 253_402_300_799_999_999
_US_PER: Final = {"s": 1_000_000, "ms": 1_000}

# Enough for milliseconds until the year 33658, and far below the 4300 digits at which int() raises.
_MAX_DIGITS: Final = 15
_MAX_ISO_CHARS: Final = 40


def digits(text: str) -> int | None:
    """A number of plain ASCII digits: no sign, space, exponent, underscore or other script."""
    if len(text) <= _MAX_DIGITS and text.isascii() and text.isdigit():
        return int(text)
    return None


def within(timestamp: int, unit: UnixUnit, now_s: float, tolerance_s: float) -> bool:
    """Whether a Unix time is at most `tolerance_s` before or after `now_s`."""
    timestamp_s = timestamp if unit == "s" else timestamp / 1000
    return -tolerance_s <= timestamp_s - now_s <= tolerance_s


def iso_to_us(text: str) -> int | None:
    """ISO 8601 to µs since 1970; without an offset it is taken as UTC. Finer digits are cut."""
    if len(text) > _MAX_ISO_CHARS or not text.isascii():
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    return _in_range(since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds)


def unix_to_us(value: float, unit: UnixUnit) -> int | None:
    """A Unix time, perhaps with a fraction, to µs since 1970."""
    # Compared before multiplying: a float as large as 1e308 would become inf, which int() refuses.
    if not _MIN_US <= value <= _MAX_US:
        return None
    return _in_range(round(value * _US_PER[unit]))


def to_us(value: object, unit: UnixUnit) -> int | None:
    """µs since 1970 of whatever a JSON field or a header holds: ISO 8601, or Unix in `unit`."""
    if isinstance(value, str):
        number = digits(value)
        return iso_to_us(value) if number is None else unix_to_us(number, unit)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return unix_to_us(value, unit)
    return None


def _in_range(moment_us: int) -> int | None:
    return moment_us if _MIN_US <= moment_us <= _MAX_US else None
