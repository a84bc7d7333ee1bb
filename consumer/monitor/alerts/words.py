"""What an alert says: texts with `{value}` and `{label}` in them, for people and for Prometheus."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Final, Literal

#: What a rule's value is: it decides how `{value}` is written.
Unit = Literal["count", "seconds", "share"]

_PLACE: Final = re.compile(r"\{([a-z_]*)\}")
#: In the words of C and of Go alike; a share's are those of Prometheus' `humanizePercentage`.
_FORMATS: Final[Mapping[Unit, str]] = {"count": "%.3g", "seconds": "%.3g s", "share": "%.4g%%"}


def places(text: str) -> set[str]:
    """The names in braces."""
    return set(_PLACE.findall(text))


def said(text: str, unit: Unit, labels: Mapping[str, str], value: float) -> str:
    """The text for a person; a label that is not there is empty."""
    return _PLACE.sub(
        lambda place: number(unit, value) if place[1] == "value" else labels.get(place[1], ""),
        text,
    )


def number(unit: Unit, value: float) -> str:
    """A value with its unit, in three digits."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return _FORMATS[unit] % (100 * value if unit == "share" else value)


def for_prometheus(text: str, unit: Unit) -> str:
    """The same as a template of Prometheus."""
    written = (
        "{{ $value | humanizePercentage }}"
        if unit == "share"
        else f'{{{{ printf "{_FORMATS[unit]}" $value }}}}'
    )
    return _PLACE.sub(
        lambda place: written if place[1] == "value" else f"{{{{ $labels.{place[1]} }}}}", text
    )
