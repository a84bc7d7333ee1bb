"""One line of `hookline doctor`: what was looked at, how it is, and what mends it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class State(StrEnum):
    """How a thing is."""

    OK = "ok"
    #: It works, and something about it should be known or will not last.
    WARNING = "warning"
    BROKEN = "broken"


class Finding(msgspec.Struct, frozen=True):
    """`room` groups lines; `mend` is the next step, empty where there is none."""

    room: str
    state: State
    text: str
    mend: str = ""


def ok(room: str, text: str) -> Finding:
    """All is well."""
    return Finding(room, State.OK, text)


def warning(room: str, text: str, mend: str = "") -> Finding:
    """Worth knowing."""
    return Finding(room, State.WARNING, text, mend)


def broken(room: str, text: str, mend: str) -> Finding:
    """It does not work."""
    return Finding(room, State.BROKEN, text, mend)
